"""The standard errors of the distances against what repeated draws of images show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from atelier.metrics.frechet import Moments, frechet_distance, frechet_estimate
from atelier.metrics.identity import MetricError
from atelier.metrics.kernel import kernel_distance, kernel_standard_error

CENTERS = np.random.default_rng(1).standard_normal((10, 32))


def features(count: int, dim: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Like those of networks: positive parts of a mixture of ten classes, whose spectrum decays."""
    random = np.random.default_rng(seed)
    mix = np.random.default_rng(2).standard_normal((32, dim)) * np.exp(-np.arange(dim) / (dim / 4)) / 6
    inner = random.standard_normal((count, 32)) * 0.7 + CENTERS[random.integers(0, 10, count)] * (1 + shift)
    return np.maximum(inner @ mix + 0.3 * random.standard_normal((count, dim)), 0).astype(np.float32)


def moments(rows: np.ndarray) -> Moments:
    made = Moments(rows.shape[1])
    made.update(rows)
    return made


# The ratio of the error to what is seen: 1 is right; above it the gate asks for more than it would need to.
@pytest.mark.parametrize(
    ("count", "dim", "shift", "ratio"),
    [(800, 48, 0.0, (0.8, 1.35)), (800, 48, 0.3, (0.8, 1.3)), (250, 200, 0.1, (0.85, 1.7)), (150, 200, 0.1, (0.85, 1.7))],
)
def test_the_error_of_the_frechet_distance(count: int, dim: int, shift: float, ratio: tuple[float, float]) -> None:
    real = moments(features(3000, dim, seed=0))
    values, errors = [], []
    for seed in range(100, 180):
        drawn = features(count, dim, seed, shift)
        values.append(frechet_distance(moments(drawn), real))
        errors.append(frechet_estimate(drawn, moments(drawn), real)[1])
    assert ratio[0] < np.mean(errors) / np.std(values, ddof=1) < ratio[1]


@pytest.mark.parametrize("shift", [0.05, 0.3])
def test_the_error_of_the_kernel_distance(shift: float) -> None:
    real = features(2000, 48, seed=0)
    values, errors = [], []
    for seed in range(100, 150):
        drawn = features(200, 48, seed, shift)
        values.append(kernel_distance(drawn, real, subsets=1, size=200, seed=0)[0])
        errors.append(kernel_standard_error(drawn, real))
    assert 0.7 < np.mean(errors) / np.std(values, ddof=1) < 1.5


@pytest.mark.parametrize("count", [20, 39, 40])
def test_both_ways_to_the_error_agree(count: int) -> None:
    """By the images' matrix, and by that of the dimensions, the same number comes out."""

    class Dense(Moments):
        few = False  # type: ignore[assignment]

    real, drawn = moments(features(500, 40, seed=0)), features(count, 40, seed=3)
    dense = Dense(40)
    dense.update(drawn)
    assert frechet_estimate(drawn, dense, real) == pytest.approx(frechet_estimate(drawn, moments(drawn), real), rel=1e-6)


def test_the_error_is_that_of_a_numerical_derivative() -> None:
    """The influence of an image is how the distance changes with its weight (float64, central differences)."""
    drawn, real = features(60, 8, seed=4).astype(np.float64), moments(features(300, 8, seed=5))
    theirs, mean = real.covariance, real.mean

    def distance(weights: np.ndarray) -> float:
        weights = weights / weights.sum()
        center = weights @ drawn
        covariance = (drawn - center).T @ ((drawn - center) * weights[:, None]) * 60 / 59
        root = np.linalg.cholesky(covariance)
        crossed = np.sqrt(np.maximum(np.linalg.eigvalsh(root.T @ theirs @ root), 0)).sum()
        return float((center - mean) @ (center - mean) + np.trace(covariance) + np.trace(theirs) - 2 * crossed)

    step = 1e-5
    influence = np.array([(distance(1 + step * unit) - distance(1 - step * unit)) / (2 * step) * 60 for unit in np.eye(60)])
    influence -= influence.mean()
    expected = np.sqrt((influence**2).sum() / (60 * 59))
    assert frechet_estimate(drawn, moments(drawn.astype(np.float32)), real)[1] == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("make", [lambda: np.full((30, 8), 2.0), lambda: np.repeat(features(1, 8, 0), 30, axis=0)])
def test_a_collapsed_generator_has_no_error(make: Callable[[], np.ndarray]) -> None:
    rows, real = make().astype(np.float32), moments(features(100, 8, seed=0))
    assert frechet_estimate(rows, moments(rows), real)[1] == pytest.approx(0, abs=1e-6)


def test_features_of_other_images_are_refused() -> None:
    rows, real = features(30, 8, 1), moments(features(100, 8, seed=0))
    with pytest.raises(MetricError, match="the moments are those of 30 images, but there are features of 29"):
        frechet_estimate(rows[:29], moments(rows), real)[1]


def test_with_many_images_the_errors_are_those_of_a_bootstrap() -> None:
    """Where the bootstrap is sound, far more images than dimensions, both say the same."""
    drawn, reference = features(600, 6, seed=1, shift=0.2), features(2000, 6, seed=0)
    real, random = moments(reference), np.random.default_rng(0)
    again = [drawn[random.integers(0, 600, 600)] for _ in range(200)]
    frechet = np.std([frechet_distance(moments(one), real) for one in again], ddof=1)
    assert frechet_estimate(drawn, moments(drawn), real)[1] == pytest.approx(frechet, rel=0.15)
    kernel = np.std([kernel_distance(one, reference, subsets=1, size=600, seed=0)[0] for one in again[:60]], ddof=1)
    assert kernel_standard_error(drawn, reference) == pytest.approx(kernel, rel=0.3)
