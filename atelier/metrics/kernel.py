"""Kernel distance: the unbiased squared maximum mean discrepancy with a cubic kernel (Binkowski et al. 2018, section 4)."""

from __future__ import annotations

import numpy as np

from atelier.metrics.identity import MetricError

SUBSETS, SUBSET_SIZE = 100, 1000
PARTNERS = 5000
BLOCK = 500  # rows of the kernel matrix that exist at a time


def subset_size(first: int, second: int, wanted: int = SUBSET_SIZE) -> int:
    """Images a subset when the sets have `first` and `second` images: `wanted`, or all of the smaller set."""
    return min(wanted, first, second)


def kernel_distance(
    first: np.ndarray, second: np.ndarray, subsets: int = SUBSETS, size: int = SUBSET_SIZE, seed: int = 2020
) -> tuple[float, float]:
    """Mean and standard deviation over `subsets` of the distance between features [N, d] and [M, d], in float64.

    Each subset draws `subset_size(N, M, size)` rows of each set without replacement, the first set's before the second's,
    from RandomState(seed): torch-fidelity's convention, whose default seed is 2020. Values slightly below 0 are right: the
    estimator is unbiased. The deviation is that of the subsets, which share images: no standard error.

    Raises MetricError on fewer than two rows, other widths, or values that are not finite.
    """
    for features in (first, second):
        if features.ndim != 2 or features.shape[1] != first.shape[1]:
            raise MetricError(f"features have shapes {first.shape} and {second.shape}; expected [N, d] and [M, d]")
        if not np.isfinite(features).all():
            raise MetricError("features are not finite; look for NaN in the generator")
    size = subset_size(len(first), len(second), size)
    if size < 2:
        raise MetricError(f"the kernel distance needs at least 2 images a set, not {len(first)} and {len(second)}")
    random = np.random.RandomState(seed)
    draws = [
        (random.choice(len(first), size, replace=False), random.choice(len(second), size, replace=False)) for _ in range(subsets)
    ]
    if (len(first) + len(second)) ** 2 <= 4 * subsets * size**2:  # all pairs are fewer than those of the subsets
        values = _discrepancies(first, second, _chosen(draws, 0, len(first)), _chosen(draws, 1, len(second)), size)
    else:
        every = np.ones((1, size))
        values = np.concatenate([_discrepancies(first[a], second[b], every, every, size) for a, b in draws])
    return float(values.mean()), float(values.std())


def kernel_standard_error(first: np.ndarray, second: np.ndarray, seed: int = 2020) -> float:
    """Standard error of the kernel distance over the draw of the first features [N, d]; the second [M, d] are taken as they are.

    It is the spread of each image's influence on the estimate, 2 (mean k(x, x') - mean k(x, y)), its first Hoeffding component
    (Gretton et al. 2012, appendix B). The means are over at most PARTNERS images of each set, drawn with `seed`.
    """
    random = np.random.RandomState(seed)
    own, others = (np.sort(random.permutation(len(one))[:PARTNERS]) for one in (first, second))
    x, y = first[own].astype(np.float64), second[others].astype(np.float64)
    influence = np.empty(len(first))
    for rows in _blocks(len(first)):
        part = first[rows].astype(np.float64)
        within = _kernel(part, x)
        itself = own == np.arange(rows.start, rows.stop)[:, None]
        mean_within = np.where(itself, 0, within).sum(axis=1) / (~itself).sum(axis=1)
        influence[rows] = 2 * (mean_within - _kernel(part, y).mean(axis=1))
    return float(influence.std(ddof=1) / np.sqrt(len(influence)))


def _chosen(draws: list[tuple[np.ndarray, np.ndarray]], side: int, count: int) -> np.ndarray:
    """Indicator [subsets, count]: 1 where a subset has the row."""
    chosen = np.zeros((len(draws), count))
    for row, draw in zip(chosen, draws, strict=True):
        row[draw[side]] = 1
    return chosen


def _discrepancies(x: np.ndarray, y: np.ndarray, in_x: np.ndarray, in_y: np.ndarray, size: int) -> np.ndarray:
    """Unbiased squared MMD of each subset (Gretton et al. 2012, equation 3); subsets are indicators [subsets, rows]."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    within = _within(x, in_x) + _within(y, in_y)
    across = sum(((in_x[:, rows] @ _kernel(x[rows], y)) * in_y).sum(axis=1) for rows in _blocks(len(x)))
    return within / (size * (size - 1)) - 2 * across / size**2


def _within(x: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Sum of the kernel over the ordered pairs of different rows of each subset; each unordered pair is computed once."""
    total = np.zeros(len(chosen))
    for rows in _blocks(len(x)):
        kernel = _kernel(x[rows], x[rows.start :])
        np.fill_diagonal(kernel, 0)
        twice = 2 * chosen[:, rows.start :]
        twice[:, : len(kernel)] /= 2
        total += ((chosen[:, rows] @ kernel) * twice).sum(axis=1)
    return total


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(x.y / d + 1)^3 for all pairs."""
    base = x @ y.T / x.shape[1] + 1
    return base * base * base


def _blocks(count: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
