"""Whole evaluations: what they measure, what they refuse, and that the distance ranks worse images as worse."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from atelier.data.packed import PackedDataset
from atelier.extractors import inception as published
from atelier.metrics.evaluator import Evaluator
from atelier.tasks.sampling import Sample
from tests.support.evaluations import Measured, cut, dataset_fixture

__all__ = ["dataset_fixture"]


def test_the_distance_ranks_worse_images_as_worse(digits: Path, measured: Measured, tmp_path: Path, held_out: np.ndarray) -> None:
    """Real digits stand for generators: each blur, noise or missing class more is farther from the other real ones."""
    dataset = PackedDataset(digits, "test")
    train = PackedDataset(digits)
    real, labels = train.images(np.arange(len(train))), train.labels
    evaluator = Evaluator(dataset, measured(samples=128, metrics=["frechet", "kernel"]), tmp_path, progress=False)

    def distances(images: np.ndarray) -> tuple[float, float]:
        found = evaluator(cut(images[:128].clip(0, 255).round().astype(np.uint8)))
        return found["frechet_efficientnet_lite0"].value, found["kernel_efficientnet_lite0"].value

    noise = np.random.default_rng(0).standard_normal(real.shape)
    ladders = {
        "blur": [gaussian_filter(real.astype(float), (0, 0, s, s)) for s in (0.6, 1.2)],
        "noise": [real + s * noise for s in (10, 40)],
        "missing classes": [real[labels >= k] for k in (4, 8)],
    }
    best = distances(real)
    for name, ladder in ladders.items():
        for values in zip(best, *map(distances, ladder), strict=True):
            assert values[0] < values[1] < values[2], name


def test_only_the_published_inception_reports_fid(
    pack_images: Callable[..., PackedDataset], measured: Measured, tmp_path: Path, varied_inception: Any, monkeypatch: Any
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 3), dtype=np.uint8)
    dataset = pack_images({"noise": list(pixels[:4])}, resolution=28)
    path = tmp_path / "weights.pth"
    torch.save(varied_inception, path)
    monkeypatch.setattr(published, "INCEPTION_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    settings = measured(extractor="inception", weights=str(path), samples=16, metrics=["frechet", "kernel"])
    evaluator = Evaluator(dataset, settings, tmp_path, progress=False)
    evaluation = evaluator([Sample(pixels[4:].transpose(0, 3, 1, 2))])
    assert [m.name for m in evaluation.measurements] == ["fid", "kid"]
    assert evaluation["fid"].identity.weights == published.INCEPTION_SHA256
    assert evaluation["fid"].identity.extractor == "inception, 2048 features"
    assert evaluator.extractor
    evaluator.extractor.is_fid = False
    evaluation = evaluator([Sample(pixels[4:].transpose(0, 3, 1, 2))])
    assert [m.name for m in evaluation.measurements] == ["frechet_inception", "kernel_inception"]
