"""Features and moments of the real images, computed once for each (images, extractor, code) and cached."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atelier.data.packed import PackedDataset
from atelier.metrics import cache as kept
from atelier.metrics.extractors import Extractor
from atelier.metrics.frechet import Moments
from atelier.metrics.identity import MetricError
from atelier.metrics.progress import bar

REFERENCE_CAP = 50_000
BATCH = 256


@dataclass(frozen=True)
class Reference:
    """What real images look like to an extractor.

    `features` float32 [count, dim]; `moments` of all of them; `indices` int64 [count], where each image is in the split.
    """

    features: np.ndarray
    moments: Moments
    indices: np.ndarray

    @property
    def count(self) -> int:
        """Number of real images."""
        return len(self.indices)


def reference_indices(count: int, seed: int, cap: int = REFERENCE_CAP) -> np.ndarray:
    """Which images of a split of `count` are the reference: all of them, or `cap` drawn with `seed`; sorted int64."""
    if count <= cap:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, cap, replace=False))


def load_reference(dataset: PackedDataset, extractor: Extractor, cache: Path, seed: int, progress: bool = True) -> Reference:
    """The reference of the dataset's split, from `cache` if everything it depends on is as it was, else computed and stored."""
    if len(dataset) < 2:
        raise MetricError(f"{dataset.folder}: a reference needs at least 2 real images, and there is {len(dataset)}; add more")
    indices = reference_indices(len(dataset), seed)
    key = {
        "images": dataset.content_hash,
        "split": dataset.split,
        "count": len(indices),
        "drawn_with_seed": seed if len(indices) < len(dataset) else None,
        "extractor": extractor.name,
        "dim": extractor.dim,
        "weights": extractor.weights_hash,
        "resize": extractor.resize,
    }
    found = kept.load(cache, "reference", key)
    if found is not None:
        arrays, _ = found
        return Reference(arrays.pop("features"), Moments.from_arrays(arrays), indices)
    moments = Moments(extractor.dim)
    features = np.empty((len(indices), extractor.dim), dtype=np.float32)
    with bar("features of real images", len(indices), progress) as shown:
        for start in range(0, len(indices), BATCH):
            part = extractor.features(dataset.images(indices[start : start + BATCH]))
            features[start : start + len(part)] = part
            moments.update(part)
            shown.update(len(part))
    kept.store(cache, "reference", key, {"features": features, **moments.to_arrays()}, values={})
    return Reference(features, moments, indices)


def nearest(features: np.ndarray, reference: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `reference` [M, d] nearest to each of `features` [N, d], and their Euclidean distances: both [N, k], nearest first.

    Equal distances go by row. Raises MetricError when k is not in 1 … M.
    """
    if not 1 <= k <= len(reference):
        raise MetricError(f"{k} nearest neighbours of {len(reference)} reference images; choose 1 to {len(reference)}")
    a, b = features.astype(np.float64), reference.astype(np.float64)
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
    rows = np.argsort(squares, axis=1, kind="stable")[:, :k]
    return rows, np.sqrt(np.maximum(np.take_along_axis(squares, rows, axis=1), 0))
