"""Generators of ONNX beside those of PyTorch that they were made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from safetensors.torch import load_file, save_file

from atelier.models.model import load_generator, read_info, to_uint8, write_info
from atelier.models.onnx import export_onnx
from atelier.models.onnx_halves import export_halves
from tests.support.small_models import LATENT, make_checkpoint


def diverged(checkpoint: Path) -> Path:
    """A checkpoint of the MLP family as training leaves it when its weights have become no numbers."""
    weights = load_file(checkpoint / "generator.safetensors")
    weights["layers.0.weight"][0, 0] = float("nan")
    save_file(weights, checkpoint / "generator.safetensors")
    write_info(checkpoint, read_info(checkpoint))
    return checkpoint


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


def check_halves(folder: Path, family: str, conditional: bool, truncates: bool) -> None:
    """Exports both halves of a small generator into `folder`/out: together they give PyTorch's bytes, truncated ones, too."""
    checkpoint = make_checkpoint(folder / "checkpoint", family, conditional, 32, 3)
    assert export_halves(checkpoint, folder / "out") <= 1e-3
    mapping, synthesis = (
        onnxruntime.InferenceSession(folder / "out" / name, providers=["CPUExecutionProvider"])
        for name in ("mapping.onnx", "synthesis.onnx")
    )
    names = ["latent", *(["label"] if conditional else []), *(["truncation"] if truncates else [])]
    assert [one.name for one in mapping.get_inputs()] == names
    assert [one.name for one in synthesis.get_inputs()] == ["code", *names[1 : 1 + conditional]]
    (output,) = synthesis.get_outputs()
    assert (output.name, output.type, output.shape) == ("pixels", "tensor(uint8)", ["N", 32, 32, 3])
    generator = load_generator(checkpoint)
    for psi in (1.0, 0.3) if truncates else (1.0,):
        latents = np.random.default_rng(1).standard_normal((5, LATENT), np.float32)
        labels = {"label": np.arange(5)} if conditional else {}
        asked = {"latent": latents, **labels} | ({"truncation": np.full(5, psi, np.float32)} if truncates else {})
        (pixels,) = synthesis.run(["pixels"], {"code": mapping.run(["code"], asked)[0], **labels})
        inputs = {"noise": torch.from_numpy(latents)} | {name: torch.from_numpy(one) for name, one in labels.items()}
        with torch.inference_mode():
            expected = to_uint8(generator.generate(inputs, torch.full((5,), psi))).transpose(0, 2, 3, 1)
        assert pixels.std() > 5 and np.abs(pixels.astype(int) - expected).max() <= 1
        assert (pixels != expected).mean() <= 1e-3
