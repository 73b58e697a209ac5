"""Task fusion as a process: killed and started again; then measured, exported, served, and asked by the command."""

from __future__ import annotations

import base64
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from atelier.data.packed import PackedDataset
from atelier.extractors import sentences
from atelier.io.files import read_json
from atelier.metrics.evaluator import read_evaluation
from atelier.metrics.while_training import measure_while_training
from atelier.models.onnx import export_onnx
from atelier.models.pyfunc import ServedGenerator, input_example
from atelier.tasks.fusion.task import Fusion
from atelier.tracking.step_run import StepRun
from atelier.training.checkpoint import read_history
from atelier.training.distributed import Ranks
from atelier.training.run import run as train
from components.evaluate import evaluate
from components.generate import generate
from tests.support.annotated import vectors, wav
from tests.support.forked import Driver
from tests.support.fusion_tasks import BASE, chosen, tones_fixture
from tests.support.registrations import run_fixture
from tests.support.registry_fixtures import store, tracking

__all__ = ["run_fixture", "store", "tones_fixture", "tracking"]
SHORT = ("train.images=96", "train.save_every=16", "train.log_every=16", "train.evaluate_every=48", "train.batch=8")


def test_killed_and_started_again_it_ends_with_the_same_bytes(tones: Path, tmp_path: Path) -> None:
    """Captions and recordings of a record are those of its position, whatever came before."""
    whole = Driver(tones, tmp_path / "whole", tmp_path / "s", *BASE, *SHORT)
    first = Driver(tones, tmp_path / "model", tmp_path / "states", *BASE, *SHORT)
    while not first.stdout.readline().startswith("point 4"):
        pass
    first.tell(signal.SIGKILL)
    assert first.finish()[0] == -9
    assert whole.finish()[0] == 0
    code, out, err = Driver(tones, tmp_path / "model", tmp_path / "states", *BASE, *SHORT).finish()
    assert code == 0 and int(out.split()[1]) >= 1, f"it begins anew: {err}"
    for name in ("generator.safetensors", "networks.safetensors"):
        assert (tmp_path / "model" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    curves = read_history(tmp_path / "model")["points"][-1].keys()
    assert {"diversity", "sound_retrieval", "sound_contrast", "code_divergence", "matching_penalty"} <= curves


def test_measured_exported_served_and_asked(tones: Path, run: StepRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16, measured by held-out records: each class by its text, by its sound, by both and by pairs that disagree."""
    settings = chosen(*SHORT, "train.precision=bfloat16", "train.evaluate_samples=16", "evaluate.samples=24")
    sets, cpu = {"data": PackedDataset(tones)}, torch.device("cpu")
    measure, by = measure_while_training(Fusion, settings.train, settings.evaluate, sets, tmp_path / "cache", Ranks(), cpu)
    model = tmp_path / "model"
    train(Fusion, settings.model, settings.train, sets, model, tmp_path / "states", measure, by, cpu, Ranks(), git={})
    evaluate(settings.evaluate, "tones", model, tones, tmp_path / "out", tmp_path / "cache", device="cpu")
    found = read_evaluation(tmp_path / "out" / "evaluation.json")
    shares = {one.name: one for one in found.measurements if one.name.startswith(("class_read", "mismatch"))}
    assert len(shares) == 9 and shares["class_read_real"].value > 0.9, "bars are told apart by where they are"
    assert shares["mismatch_text"].value + shares["mismatch_sound"].value <= 1
    held_out = f"records of {sets['data'].content_hash}:test, drawn by the seed"
    assert shares["class_read_sound"].identity.sampling == f"made of sound of {held_out}"
    assert {
        "frechet_efficientnet_lite0",
        "text_frechet_efficientnet_lite0",
        "sound_frechet_efficientnet_lite0",
    } <= found.flat.keys()

    assert 0 <= export_onnx(model, tmp_path / "one.onnx") <= 1e-4
    monkeypatch.setattr(sentences, "embed_texts", vectors)
    served = ServedGenerator(model, "cpu")
    assert served.columns == ["seed", "latent", "text", "audio", "guidance"]
    assert served.predict(input_example(served.info)).shape == (2, 28, 28, 1)
    sound = base64.b64encode(wav(300)).decode()
    told: list[dict[str, Any]] = [{}, {"text": "low"}, {"audio": sound}, {"text": "low", "audio": sound}]
    told += [told[3] | {"guidance": 2.0}, told[3] | {"guidance": 0.0}]
    images = served.generate(served.read([{"seed": 1} | one for one in told]))
    assert len(np.unique(images[:5], axis=0)) == 5 and np.array_equal(images[0], images[5])

    (tmp_path / "low.wav").write_bytes(wav(300))
    asked = ["text=low", f"audio={tmp_path / 'low.wav'}", "guidance=2"]
    generate(model, tmp_path / "made", tmp_path / "cache", count=2, seed=1, inputs=asked, device="cpu")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "made" / "000000.png")), images[4, ..., 0])
    (entry, _) = read_json(tmp_path / "made" / "manifest.json")["images"]
    assert (entry["text"], entry["guidance"], len(entry["audio"])) == ("low", 2.0, 64), "the recording by its hash"
