"""Fréchet distance between two Gaussians fitted to features (Dowson and Landau 1982; Heusel et al. 2017, equation 6).

    d^2 = |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2))

With S = F^T F for any factor F, the last trace is the nuclear norm (sum of singular values) of F1 F2^T. Taken so, nothing is
squared before the root: no complex numbers, no offset on the diagonal, and rank-deficient covariances need no special case.
"""

from __future__ import annotations

import numpy as np
import torch

from atelier.metrics.identity import MetricError
from atelier.metrics.passes import one_thread


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

    @property
    def count(self) -> int:
        """Number of features seen."""
        return self._folded + len(self._rows)

    def update(self, features: np.ndarray) -> None:
        """Adds features [N, dim]. Raises MetricError on another width or a value that is not finite."""
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise MetricError(f"features have shape {features.shape}; expected [N, {self.dim}]")
        finite = np.isfinite(features).all(axis=1)
        if not finite.all():
            row = self.count + int(np.argmin(finite))
            raise MetricError(f"the features of image {row} are not finite; look for NaN in the generator that painted it")
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
        """F [rank, dim] with F^T F = covariance: the centred rows where they are fewer than `dim`, else Cholesky or eigh."""
        mean = self.mean
        if self._scatter is None:
            return (self._rows - mean) / np.sqrt(self.count - 1)
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
        centred = block - self._shift
        self._sum = self._sum + centred.sum(axis=0)
        self._scatter = self._scatter + centred.T @ centred
        self._folded += len(block)

    def _enough(self) -> None:
        if self.count < 2:
            raise MetricError(f"a covariance needs at least 2 images, not {self.count}; raise the number of images")


def frechet_distance(first: Moments, second: Moments) -> float:
    """Squared Fréchet distance between the Gaussians of two sets of features, at least 0.

    Raises MetricError when a set has fewer than two features or the widths differ.
    """
    if first.dim != second.dim:
        raise MetricError(f"features of {first.dim} and {second.dim} dimensions cannot be compared; use one extractor")
    root, other = first.factor(), second.factor()
    difference = first.mean - second.mean
    with one_thread():  # many small steps: threads that wait for each other on shared cores take minutes
        overlap = float(torch.linalg.svdvals(torch.from_numpy(root @ other.T)).sum())
    return max(float(difference @ difference + np.vdot(root, root) + np.vdot(other, other) - 2 * overlap), 0.0)


def frechet_standard_error(features: np.ndarray, first: Moments, second: Moments) -> float:
    """Standard error of `frechet_distance(first, second)` over the draw of the features [N, dim] that `first` was made of.

    The second set is taken as it is. This is the infinitesimal jackknife (Efron 1982, chapter 6): the spread of each image's
    influence on the distance. The distance's derivative by S1 is 1 - T, T the map that carries the first Gaussian to the
    second, T S1 T = S2 (Peyré and Cuturi 2019, remark 2.31). With F1 F2^T = U s V^T it holds that F1 T F1^T = U s U^T, so
    for c = F1^T a the form c^T T c = a^T U s U^T a needs no inverse of a covariance, which N <= dim would not have.

    Against repeated draws it is right within 15 % where N is several times dim, and up to 1.6 times too large where N is
    about dim or smaller (tests/unit/metrics/test_errors_of_distances.py): on the safe side. A bootstrap would draw images twice,
    which a covariance of so few takes for a smaller rank: its distances are half as large again, their spread several times.
    """
    if len(features) != first.count:
        raise MetricError(f"the moments are those of {first.count} images, but there are features of {len(features)}")
    centred = torch.from_numpy(features.astype(np.float64) - first.mean)
    root, other = torch.from_numpy(first.factor()), torch.from_numpy(second.factor())
    with one_thread():
        left, values, _ = torch.linalg.svd(root @ other.mT, full_matrices=False)
        if len(root) == len(centred):
            carried = (left.square() @ values) * (len(centred) - 1)  # a is a unit vector times sqrt(N - 1)
        else:
            coordinates = torch.linalg.lstsq(root.mT, centred.mT, driver="gelsd").solution
            carried = values @ (left.mT @ coordinates).square()
        shift = torch.from_numpy(first.mean - second.mean)
        influence = 2 * centred @ shift + centred.square().sum(dim=1) - carried
        return float((influence - influence.mean()).square().sum() / (len(centred) * (len(centred) - 1))) ** 0.5
