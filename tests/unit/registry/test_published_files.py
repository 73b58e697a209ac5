"""What is published holds the generator alone: a discriminator tells the images that it was trained on from others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from safetensors.numpy import load_file, save_file

from atelier.models.model import NETWORKS, read_info, write_info
from atelier.models.onnx import export_onnx
from atelier.registry.fetch import load_checkpoint
from atelier.tracking.step_run import StepRun
from tests.support.registrations import model_folder, register, run_fixture

__all__ = ["run_fixture"]

SECRET = np.arange(4096, dtype=np.float32) ** 1.5  # a layer of the discriminator


def test_no_published_file_holds_the_discriminator(run: StepRun, make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    checkpoint = make_checkpoint("base", seed=9)
    save_file({**load_file(checkpoint / NETWORKS), "discriminator.layer": SECRET}, checkpoint / NETWORKS)
    write_info(checkpoint, read_info(checkpoint))
    made = register(run, "published", checkpoint)
    export_onnx(load_checkpoint(made.uri, tmp_path / "pulled", networks=False), tmp_path / "exported" / "published.onnx")
    folders = [model_folder(made), tmp_path / "pulled", tmp_path / "exported"]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    assert {"generator.safetensors", "generator.json", "published.onnx", "MLmodel"} <= {file.name for file in files}
    part = SECRET[100:200].tobytes()
    assert part in (checkpoint / NETWORKS).read_bytes()
    assert not [file for file in files if part in file.read_bytes()]
    whole = load_checkpoint(made.uri, tmp_path / "whole")
    assert part in (whole / NETWORKS).read_bytes(), "kept for fine-tuning, by whoever may read the run's artifacts"
    initializers = onnx.load(tmp_path / "exported" / "published.onnx").graph.initializer
    assert not any("discriminator" in one.name for one in initializers)
