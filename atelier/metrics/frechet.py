"""Fréchet distance between two Gaussians fitted to features (Dowson and Landau 1982; Heusel et al. 2017, equation 6).

    d^2 = |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2))

With S1 = F^T F and S2 = R^T R for any factors F and R, the last trace is the sum of the singular values of F R^T: no complex
numbers, no offset on the diagonal, and rank-deficient covariances need no special case. The eigenvalues of a product of
covariances are those singular values squared; their roots lose half of the digits, and with features of a steep spectrum the
distance its third. Where a set has fewer images than dimensions, its factor is its centered rows, and smaller.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch

from atelier.extractors.passes import one_thread
from atelier.metrics.identity import MetricError

BLOCK = 2000  # images whose centered features exist in float64 at a time


class Moments:
    """Mean and covariance (ddof 1) of a stream of features, in float64.

    Rows are folded into the sums in blocks of exactly `dim`, so how the stream was cut into batches changes no bit; fewer
    rows than `dim` are kept as they are, which gives the N x N route its factor. Sums are shifted by the first block's mean.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._rows = np.empty((0, dim))
        self._folded = 0
        self._shift = np.zeros(dim)
        self._sum = np.zeros(dim)
        self._scatter: np.ndarray | None = None
        self._root: np.ndarray | None = None

    @classmethod
    def of(cls, features: np.ndarray) -> Self:
        """The moments of features [N, dim]. Raises MetricError as `update`."""
        made = cls(features.shape[1])
        made.update(features)
        return made

    @property
    def count(self) -> int:
        """Number of features so far."""
        return self._folded + len(self._rows)

    def update(self, features: np.ndarray) -> None:
        """Adds features [N, dim]. Raises MetricError on another width or a value that is not finite."""
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise MetricError(f"features have shape {features.shape}; expected [N, {self.dim}]")
        finite = np.isfinite(features).all(axis=1)
        if not finite.all():
            row = self.count + int(np.argmin(finite))
            raise MetricError(f"the features of image {row} are not finite; look for NaN in the generator")
        self._root = None
        self._rows = np.concatenate([self._rows, features.astype(np.float64)])
        while len(self._rows) >= self.dim:
            self._fold(self._rows[: self.dim])
            self._rows = self._rows[self.dim :]

    @property
    def mean(self) -> np.ndarray:
        """float64 [dim]. Raises MetricError with fewer than two features."""
        self._enough()
        if self._scatter is None:
            return self._rows.mean(axis=0)
        return self._shift + (self._sum + (self._rows - self._shift).sum(axis=0)) / self.count

    @property
    def few(self) -> bool:
        """True while there are fewer features than dimensions, so that the rows themselves are the smaller factor."""
        return self._scatter is None

    @property
    def trace(self) -> float:
        """Trace of the covariance."""
        return float(np.square(self.factor()).sum() if self.few else np.trace(self.covariance))

    @property
    def covariance(self) -> np.ndarray:
        """float64 [dim, dim], ddof 1. Raises MetricError with fewer than two features."""
        if self._scatter is None:
            factor = self.factor()
            return factor.T @ factor
        rest = self._rows - self._shift
        total = self._sum + rest.sum(axis=0)
        scatter = self._scatter + rest.T @ rest - np.outer(total, total) / self.count
        return (scatter + scatter.T) / (2 * (self.count - 1))

    def factor(self) -> np.ndarray:
        """F [rank, dim] with F^T F = covariance: the centered rows where they are fewer than `dim`, else Cholesky or eigh.

        A decomposition is kept until the next features come: a reference is measured against again and again.
        """
        mean = self.mean
        if self._scatter is None:
            return (self._rows - mean) / np.sqrt(self.count - 1)
        if self._root is None:
            self._root = self._decomposed()
        return self._root

    def _decomposed(self) -> np.ndarray:
        covariance = torch.from_numpy(self.covariance)
        with one_thread():
            lower, failed = torch.linalg.cholesky_ex(covariance)
            if not failed:
                return lower.mT.numpy()
            values, vectors = torch.linalg.eigh(covariance)  # singular: constant or dependent features
        kept = values > values[-1] * self.dim * torch.finfo(torch.float64).eps
        return (values[kept].sqrt()[:, None] * vectors[:, kept].mT).numpy()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays for a file; `from_arrays` gives back equal moments, to the bit."""
        arrays = {"rows": self._rows, "folded": np.array(self._folded), "shift": self._shift, "sum": self._sum}
        return arrays if self._scatter is None else {**arrays, "scatter": self._scatter}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Moments:
        """Inverse of `to_arrays`."""
        moments = cls(arrays["rows"].shape[1])
        moments._rows, moments._folded = arrays["rows"], int(arrays["folded"])
        moments._shift, moments._sum, moments._scatter = arrays["shift"], arrays["sum"], arrays.get("scatter")
        return moments

    def _fold(self, block: np.ndarray) -> None:
        if self._scatter is None:
            self._shift, self._scatter = block.mean(axis=0), np.zeros((self.dim, self.dim))
        centered = block - self._shift
        self._sum = self._sum + centered.sum(axis=0)
        self._scatter = self._scatter + centered.T @ centered
        self._folded += len(block)

    def _enough(self) -> None:
        if self.count < 2:
            raise MetricError(f"a covariance needs at least 2 images, not {self.count}; raise the number of images")


def frechet_distance(first: Moments, second: Moments) -> float:
    """Squared Fréchet distance between the Gaussians of two sets of features, at least 0.

    Raises MetricError when a set has fewer than two features or the widths differ.
    """
    crossed = _crossed(first, second.factor())
    with one_thread():
        spread = torch.linalg.svdvals(crossed)
    return max(_distance(first, second, float(spread.sum())), 0.0)


def frechet_influence(
    features: np.ndarray, first: Moments, second: Moments, root: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """The distance of `first`, the moments of `features` [N, dim], to `second`, and the influence of each feature on it [N].

    An influence is how the distance changes with the weight of an image, the basis of the infinitesimal jackknife (Efron 1982,
    chapter 6). The distance's derivative by S1 is 1 - T, T the map that carries the first Gaussian to the second, T S1 T = S2
    (Peyré and Cuturi 2019, remark 2.31): T = R^T (R S1 R^T)^(-1/2) R. `root` is the second's factor R where a caller has it
    already. Here the distance is not cut off at 0.

    Raises MetricError as frechet_distance does, and where the features are not those of `first`.
    """
    if len(features) != first.count:
        raise MetricError(f"the moments are those of {first.count} images, but there are features of {len(features)}")
    overlap = _Overlap(first, second.factor() if root is None else root)
    mean, shift = first.mean, first.mean - second.mean
    influence = np.empty(len(features))
    for start in range(0, len(features), BLOCK):
        rows = slice(start, start + BLOCK)
        centered = features[rows] - mean
        influence[rows] = 2 * centered @ shift + (centered**2).sum(axis=1) - overlap.carried(rows, centered)
    return _distance(first, second, overlap.trace), influence - influence.mean()


def frechet_estimate(features: np.ndarray, first: Moments, second: Moments) -> tuple[float, float]:
    """`frechet_distance(first, second)` and its standard error over the draw of the features [N, dim] that `first` was made of.

    The second set is taken as it is. The error is the infinitesimal jackknife, which is what a bootstrap tends to: the spread of
    each image's influence. Against repeated draws it is right within 15 % where N is several times dim, and up to 1.6 times too
    large where N is about dim or smaller (tests/unit/metrics/test_errors_of_distances.py): on the safe side. A bootstrap that
    draws images twice is no use there: a covariance of so few takes them for a smaller rank, its distances are half as large
    again, their spread several times.
    """
    value, influence = frechet_influence(features, first, second)
    return max(value, 0.0), float((influence**2).sum() / (len(features) * (len(features) - 1))) ** 0.5


class _Overlap:
    """F R^T = U diag(spread) V^T: the trace of the root, and what T carries each image of the first set to."""

    def __init__(self, first: Moments, root: np.ndarray) -> None:
        self.root, self.count, self.few = root, first.count, first.few
        crossed = _crossed(first, root)
        with one_thread():
            parts = torch.linalg.svd(crossed, full_matrices=False)
        self.left, self.spread, self.right = (part.numpy() for part in parts)
        self.trace = float(self.spread.sum())

    def carried(self, rows: slice, centered: np.ndarray) -> np.ndarray:
        """c^T T c for the centered features c of `rows`."""
        if self.few:  # the rows are F: T needs no inverse
            return (self.count - 1) * self.left[rows] ** 2 @ self.spread
        shared = self.spread > self.spread.max(initial=0) * len(self.spread) * np.finfo(np.float64).eps
        return (centered @ (self.root.T @ self.right[shared].T)) ** 2 @ (1 / self.spread[shared])


def _crossed(first: Moments, root: np.ndarray) -> torch.Tensor:
    """F R^T, float64. Its decompositions are many small steps: threads that wait for each other on shared cores take minutes."""
    if first.dim != root.shape[1]:
        raise MetricError(f"features of {first.dim} and {root.shape[1]} dimensions cannot be compared; use one extractor")
    factor = first.factor()
    with one_thread():
        return torch.from_numpy(factor) @ torch.from_numpy(root).mT


def _distance(first: Moments, second: Moments, overlap: float) -> float:
    difference = first.mean - second.mean
    return float(difference @ difference + first.trace + second.trace - 2 * overlap)
