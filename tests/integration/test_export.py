"""ONNX export of every family: what is in the file, and that it paints what PyTorch paints, here and in a process without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from atelier.models.model import load_generator
from atelier.models.onnx import export_onnx
from atelier.networks import zoo
from tests.support.small_models import LATENT, make_checkpoint


def painted_by_torch(checkpoint: Path, latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    with torch.inference_mode():
        label = None if labels is None else torch.from_numpy(labels)
        return load_generator(checkpoint)(torch.from_numpy(latents), label).clamp(-1, 1).numpy()


@pytest.mark.parametrize(("resolution", "channels", "conditional"), [(28, 1, True), (32, 3, False), (128, 3, True)])
@pytest.mark.parametrize("family", zoo.FAMILIES)
def test_onnx_paints_what_pytorch_paints(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], family: str, conditional: bool, resolution: int, channels: int
) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", family, conditional, resolution, channels)
    output = tmp_path / "out" / "generator.onnx"
    deviation = export_onnx(checkpoint, output)
    assert 0 <= deviation <= 1e-4
    assert capfd.readouterr().out == "" and [path.name for path in output.parent.iterdir()] == ["generator.onnx"]

    session = onnxruntime.InferenceSession(output, providers=["CPUExecutionProvider"])
    inputs = [(one.name, one.type, one.shape) for one in session.get_inputs()]
    assert inputs == [("latent", "tensor(float)", ["N", LATENT]), ("label", "tensor(int64)", ["N"])][: 1 + conditional]
    (images,) = session.get_outputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(float)", ["N", channels, resolution, resolution])
    for batch in (1, 5, 33):
        latents = np.random.default_rng(batch).standard_normal((batch, LATENT), np.float32)
        labels = np.arange(batch, dtype=np.int64) % 5 if conditional else None
        feed = {"latent": latents} | ({"label": labels} if conditional else {})
        (painted,) = session.run(["images"], feed)
        expected = painted_by_torch(checkpoint, latents, labels)
        assert painted.shape == (batch, channels, resolution, resolution) and np.abs(painted).max() <= 1
        assert np.abs(painted - expected).max() <= 1e-4 < 0.05 < painted.std()
        assert (np.abs(expected) < 1).mean() > 0.25  # what is clipped tells nothing


def test_a_process_without_pytorch_and_without_atelier_paints(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", "r3gan", True, 32, 3)
    export_onnx(checkpoint, tmp_path / "generator.onnx")
    script = (
        "import json, sys, numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession('generator.onnx', providers=['CPUExecutionProvider'])\n"
        "about = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}\n"
        "latents = numpy.random.default_rng(3).standard_normal((4, about['latent_dim']), numpy.float32)\n"
        "labels = numpy.full(4, about['classes'].index('two'))\n"
        "numpy.save('images.npy', session.run(['images'], {'latent': latents, 'label': labels})[0])\n"
        "print(sorted({'torch', 'atelier'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    latents = np.random.default_rng(3).standard_normal((4, LATENT), np.float32)
    expected = painted_by_torch(checkpoint, latents, np.full(4, 2))
    assert np.abs(np.load(tmp_path / "images.npy") - expected).max() <= 1e-4


@pytest.mark.parametrize("family", zoo.FAMILIES)
def test_equal_checkpoints_give_equal_bytes(tmp_path: Path, family: str) -> None:
    files = []
    for name in ("one", "two"):
        files.append(tmp_path / f"{name}.onnx")
        export_onnx(make_checkpoint(tmp_path / name, family), files[-1])
    assert files[0].read_bytes() == files[1].read_bytes()
