"""The features of a stream of images: their moments in float64 and, where a metric needs them, each one in order."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from atelier.metrics.frechet import Moments
from atelier.metrics.identity import MetricError

IN_MEMORY = 64 * 2**20  # bytes of features; more of them lie in a file


class FeatureStream:
    """Moments and, with `keep`, features float32 [count, dim] of a stream of images.

    Features of more than IN_MEMORY bytes lie in a file in the folder `scratch` that has no name and is gone with this object, so
    that 50,000 images take no more memory than 1,000.
    """

    def __init__(self, dim: int, count: int, keep: bool, scratch: Path) -> None:
        self.moments = Moments(dim)
        self._features: np.ndarray | None = None
        if keep and 4 * count * dim <= IN_MEMORY:
            self._features = np.empty((count, dim), dtype=np.float32)
        elif keep:
            scratch.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=scratch) as file:
                self._features = np.memmap(file, dtype=np.float32, mode="w+", shape=(count, dim))

    @property
    def count(self) -> int:
        """Images so far."""
        return self.moments.count

    @property
    def features(self) -> np.ndarray:
        """float32 [count, dim] of all images so far. Raises MetricError where they were not kept."""
        if self._features is None:
            raise MetricError("the features of these images were not kept, only their moments; stream them with keep")
        return self._features[: self.count]

    def update(self, features: np.ndarray) -> None:
        """Adds features [N, dim]. Raises MetricError on another width or a value that is not finite."""
        before = self.count
        self.moments.update(features)
        if self._features is not None:
            self._features[before : self.count] = features
