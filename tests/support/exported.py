"""A generator of ONNX beside the one of PyTorch that it was made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch

from atelier.models.model import load_generator
from atelier.models.onnx import export_onnx
from tests.support.small_models import LATENT, make_checkpoint


def synthesized_by_torch(checkpoint: Path, latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    with torch.inference_mode():
        label = None if labels is None else torch.from_numpy(labels)
        return load_generator(checkpoint)(torch.from_numpy(latents), label).clamp(-1, 1).numpy()


def check_export(folder: Path, family: str, conditional: bool, resolution: int, channels: int) -> None:
    """Exports a small generator into `folder`/out: the file gives what PyTorch gives, for every number of images."""
    checkpoint = make_checkpoint(folder / "checkpoint", family, conditional, resolution, channels)
    output = folder / "out" / "generator.onnx"
    deviation = export_onnx(checkpoint, output)
    assert 0 <= deviation <= 1e-4
    assert [path.name for path in output.parent.iterdir()] == ["generator.onnx"]

    session = onnxruntime.InferenceSession(output, providers=["CPUExecutionProvider"])
    inputs = [(one.name, one.type, one.shape) for one in session.get_inputs()]
    assert inputs == [("latent", "tensor(float)", ["N", LATENT]), ("label", "tensor(int64)", ["N"])][: 1 + conditional]
    (images,) = session.get_outputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(float)", ["N", channels, resolution, resolution])
    for batch in (1, 5, 33):
        latents = np.random.default_rng(batch).standard_normal((batch, LATENT), np.float32)
        labels = np.arange(batch, dtype=np.int64) % 5 if conditional else None
        feed = {"latent": latents} | ({"label": labels} if conditional else {})
        (generated,) = session.run(["images"], feed)
        expected = synthesized_by_torch(checkpoint, latents, labels)
        assert generated.shape == (batch, channels, resolution, resolution) and np.abs(generated).max() <= 1
        assert np.abs(generated - expected).max() <= 1e-4 < 0.05 < generated.std()
        assert (np.abs(expected) < 1).mean() > 0.1  # what is clipped tells nothing
