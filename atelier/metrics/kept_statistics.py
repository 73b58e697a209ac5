"""What a generated set keeps of the statistics of real images: the means of each class, and how features vary together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atelier.metrics.identity import MetricError

FEWEST = 8  # images by which a correlation is taken


@dataclass(frozen=True)
class RealStatistics:
    """Features [M, d] of training images and the class of each, int64 [M]; all 0 without classes."""

    features: np.ndarray
    labels: np.ndarray

    def class_means_apart(self, features: np.ndarray, labels: np.ndarray) -> float:
        """The mean over classes and features of the difference of the means, in standard deviations of the training images.

        That is the standardized difference by which tables compare groups (Austin 2009), of features [N, d] with labels [N];
        a feature that is the same everywhere is left out. Classes that neither side lacks count alike.
        """
        deviation = self.features.std(axis=0, dtype=np.float64)
        varied = deviation > 0
        shared = np.intersect1d(labels, self.labels)
        if not (varied.any() and len(shared)):
            raise MetricError("statistics: no feature varies, or no class is on both sides; look at the images")
        apart = [np.abs(_mean(features, labels == one) - _mean(self.features, self.labels == one)) for one in shared]
        return float((np.array(apart)[:, varied] / deviation[varied]).mean())

    def correlations_apart(self, features: np.ndarray) -> float:
        """The mean absolute difference of Pearson's correlation, over all pairs of features [N, d] that vary on both sides."""
        varied = (features.std(axis=0, dtype=np.float64) > 0) & (self.features.std(axis=0, dtype=np.float64) > 0)
        if len(features) < FEWEST or varied.sum() < 2:
            raise MetricError(f"statistics: correlations need {FEWEST} images and two features that vary; measure more images")
        own, real = (np.corrcoef(one[:, varied], rowvar=False, dtype=np.float64) for one in (features, self.features))
        return float(np.abs(own - real)[np.triu_indices(len(own), 1)].mean())


def as_many(own: np.ndarray, other: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two sets with labels [N] and [H], as many of each class in both, drawn with `seed`; sorted int64.

    Two numbers that fall with the number of images are compared on these alone. Raises MetricError where no class is in both.
    """
    random = np.random.default_rng(seed)
    rows: tuple[list[np.ndarray], list[np.ndarray]] = [], []
    for label in np.intersect1d(own, other):
        members = [np.flatnonzero(side == label) for side in (own, other)]
        count = min(map(len, members))
        for found, side in zip(rows, members, strict=True):
            found.append(random.permutation(side)[:count])
    if not rows[0]:
        raise MetricError("statistics: generated and held-out images have no class in common; pack the set again")
    return np.sort(np.concatenate(rows[0])), np.sort(np.concatenate(rows[1]))


def _mean(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return features[rows].mean(axis=0, dtype=np.float64)
