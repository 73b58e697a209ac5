"""Moments and features of the real images, computed once for each (images, extractor, code) and cached."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atelier.data.images import Images
from atelier.extractors.base import Extractor
from atelier.io.progress import bar
from atelier.metrics import cache as kept
from atelier.metrics.feature_stream import FeatureStream
from atelier.metrics.frechet import Moments
from atelier.metrics.identity import MetricError
from atelier.metrics.prefetch import batch_size, batches

REFERENCE_CAP = 50_000


@dataclass(frozen=True)
class Reference:
    """The features of real images.

    `moments` of all of them; `features` float32 [count, dim], empty where no metric needs them; `indices` int64 [count], where
    each image is in the split; `images` is content hash and split.
    """

    features: np.ndarray
    moments: Moments
    indices: np.ndarray
    images: str

    @property
    def count(self) -> int:
        """Number of real images."""
        return len(self.indices)


def reference_indices(count: int, seed: int, cap: int = REFERENCE_CAP) -> np.ndarray:
    """Indices of the reference in a split of `count` images: all of them, or `cap` drawn with `seed`; sorted int64."""
    if count <= cap:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, cap, replace=False))


def load_reference(
    dataset: Images, extractor: Extractor, cache: Path, seed: int, keep: bool = True, progress: bool = True
) -> Reference:
    """The reference of the dataset's split, from `cache` if everything it depends on is as it was, else computed and stored.

    Without `keep` there are no features, and 50,000 images take no more memory or room than 1,000. Raises MetricError.
    """
    if len(dataset) < 2:
        raise MetricError(f"a reference needs at least 2 real images, and there is {len(dataset)} in {dataset.split}; add more")
    indices = reference_indices(len(dataset), seed)
    images = f"{dataset.content_hash}:{dataset.split}"
    key = {
        "images": dataset.content_hash,
        "split": dataset.split,
        "count": len(indices),
        "drawn_with_seed": seed if len(indices) < len(dataset) else None,
        "extractor": extractor.name,
        "layer": extractor.layer,
        "dim": extractor.dim,
        "weights": extractor.weights_hash,
        "resize": extractor.resize,
    }
    moments = kept.load(cache, "moments", key)
    features = kept.load(cache, "features", key) if keep else ({"features": np.empty((0, extractor.dim), np.float32)}, {})
    if moments and features:
        return Reference(features[0]["features"], Moments.from_arrays(moments[0]), indices, images)
    stream = extract(dataset, indices, extractor, keep, cache, "features of real images", progress)
    kept.store(cache, "moments", key, stream.moments.to_arrays(), values={})
    if keep:
        kept.store(cache, "features", key, {"features": stream.features}, values={})
    return Reference(stream.features if keep else np.empty((0, extractor.dim), np.float32), stream.moments, indices, images)


def extract(
    images: Images, indices: np.ndarray, extractor: Extractor, keep: bool, scratch: Path, title: str, progress: bool
) -> FeatureStream:
    """The features of the images at `indices`, which are decoded ahead; `title` stands at the progress bar."""
    stream, decoded = FeatureStream(extractor.dim, len(indices), keep, scratch), batches(images, indices, batch_size(extractor))
    with bar(title, len(indices), progress) as progress_bar, contextlib.closing(decoded):
        for batch in decoded:
            stream.update(extractor.features(batch))
            progress_bar.update(len(batch))
    return stream
