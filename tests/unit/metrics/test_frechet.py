"""The Fréchet distance against closed forms, torch-fidelity and pytorch-fid; its moments against NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytorch_fid.fid_score import calculate_frechet_distance
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

from atelier.metrics.frechet import Moments, frechet_distance, frechet_estimate
from atelier.metrics.identity import MetricError

DIM = 24


def moments(features: np.ndarray) -> Moments:
    result = Moments(features.shape[1])
    result.update(features)
    return result


def distance(first: np.ndarray, second: np.ndarray) -> float:
    return frechet_distance(moments(first), moments(second))


def fidelity(first: np.ndarray, second: np.ndarray) -> float:
    statistics = [fid_features_to_statistics(torch.from_numpy(features)) for features in (first, second)]
    return fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]


def correlated(seed: int, count: int, dim: int = DIM, rank: int | None = None) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.standard_normal((count, rank or dim)) @ random.standard_normal((rank or dim, dim)) + random.standard_normal(dim)


@pytest.fixture(scope="module")
def white() -> Callable[[int], np.ndarray]:
    """`white(seed)`: 200 features whose sample mean is 0 and whose sample covariance is the identity."""

    def make(seed: int) -> np.ndarray:
        features = np.random.default_rng(seed).standard_normal((200, DIM))
        features -= features.mean(axis=0)
        return features @ np.linalg.inv(np.linalg.cholesky(np.cov(features, rowvar=False))).T

    return make


def test_closed_form_of_diagonal_gaussians(white: Callable[[int], np.ndarray]) -> None:
    random = np.random.default_rng(2)
    shift, first, second = random.standard_normal(DIM), random.uniform(0.1, 3, DIM), random.uniform(0.1, 3, DIM)
    expected = shift @ shift + ((first - second) ** 2).sum()
    assert distance(white(0) * first, white(1) * second + shift) == pytest.approx(expected, rel=1e-12)


def test_directions_of_little_spread_count(white: Callable[[int], np.ndarray]) -> None:
    """Features of networks have steep spectra: one direction here spreads 10,000 times as far as each of the others."""
    first, second = np.full(DIM, 1e-4), np.full(DIM, 2e-4)
    first[0] = second[0] = 1
    one, other = white(0) * first, white(1) * second
    expected = ((first - second) ** 2).sum()
    assert distance(one, other) == pytest.approx(expected, rel=1e-6)
    assert frechet_estimate(one, moments(one), moments(other))[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("count", [DIM - 4, 4 * DIM])
def test_equals_the_nuclear_norm_of_the_centered_features(count: int) -> None:
    """The trace of the root is that of the product of both sets of rows (float64 SVD), whatever their spectrum."""
    scale = np.logspace(0, -6, DIM)
    first, second = (np.random.default_rng(seed).standard_normal((count, DIM)) * scale for seed in (0, 1))
    one, other = ((rows - rows.mean(axis=0)) / np.sqrt(count - 1) for rows in (first, second))
    gap = first.mean(axis=0) - second.mean(axis=0)
    expected = gap @ gap + (one**2).sum() + (other**2).sum() - 2 * np.linalg.norm(one @ other.T, "nuc")
    assert distance(first, second) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(200, 300), (2 * DIM, 500), (DIM - 1, 300), (10, 12), (2, 2)])
def test_equals_torch_fidelity_and_pytorch_fid(n: int, m: int) -> None:
    first, second = correlated(0, n), correlated(1, m)
    assert distance(first, second) == pytest.approx(fidelity(first, second), rel=1e-6)
    if n > DIM:  # where pytorch-fid's square root exists without its offset
        statistics = [(x.mean(axis=0), np.cov(x, rowvar=False)) for x in (first, second)]
        peer = calculate_frechet_distance(*statistics[0], *statistics[1])
        assert distance(first, second) == pytest.approx(peer, rel=1e-9)


@pytest.mark.parametrize("count", [DIM // 2, 4 * DIM])
def test_rank_deficient_sets(count: int) -> None:
    first, second = correlated(0, count, rank=5), correlated(1, 90, rank=7)
    assert distance(first, second) == pytest.approx(fidelity(first, second), rel=1e-6)
    assert distance(first, first) == pytest.approx(0, abs=1e-9)


def test_sets_without_common_directions() -> None:
    """The root's trace vanishes: the distance is the means' plus both traces."""
    first, second = np.zeros((100, DIM)), np.zeros((80, DIM))
    first[:, : DIM // 2], second[:, DIM // 2 :] = correlated(0, 100, DIM // 2), correlated(1, 80, DIM // 2)
    gap = first.mean(axis=0) - second.mean(axis=0)
    expected = gap @ gap + first.var(axis=0, ddof=1).sum() + second.var(axis=0, ddof=1).sum()
    assert distance(first, second) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("count", [2, 5, DIM, 200])
def test_constant_images(count: int) -> None:
    constant, other = np.full((count, DIM), 3.0), correlated(0, 100)
    gap = 3 - other.mean(axis=0)
    expected = gap @ gap + other.var(axis=0, ddof=1).sum()
    assert distance(constant, other) == pytest.approx(expected, rel=1e-12)
    assert distance(constant, np.full((count, DIM), 1.0)) == pytest.approx(4 * DIM, rel=1e-12)
    assert distance(constant, constant) == 0


def test_is_symmetric_and_zero_on_itself() -> None:
    first, second = correlated(0, 100), correlated(1, 15)
    assert distance(first, second) == pytest.approx(distance(second, first), rel=1e-12)
    assert distance(first, first) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("count", [10, DIM, 2 * DIM, 333])
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_how_features_come_changes_no_bit(count: int, batch: int) -> None:
    features = correlated(0, count).astype(np.float32)
    cut = Moments(DIM)
    for start in range(0, count, batch):
        cut.update(features[start : start + batch])
    whole = moments(features)
    assert cut.count == whole.count == count
    assert np.array_equal(cut.mean, whole.mean)
    assert np.array_equal(cut.covariance, whole.covariance)
    assert frechet_distance(cut, moments(correlated(1, 50))) == frechet_distance(whole, moments(correlated(1, 50)))


def test_order_changes_nothing_but_rounding() -> None:
    features, other = correlated(0, 333), correlated(1, 400)
    turned = features[np.random.default_rng(0).permutation(333)]
    np.testing.assert_allclose(moments(turned).mean, moments(features).mean, rtol=1e-12)
    np.testing.assert_allclose(moments(turned).covariance, moments(features).covariance, rtol=1e-12, atol=1e-12)
    assert distance(turned, other) == pytest.approx(distance(features, other), rel=1e-12)


@pytest.mark.parametrize("count", [5, 60])
def test_moments_equal_numpy(count: int) -> None:
    features = correlated(0, count)
    np.testing.assert_allclose(moments(features).mean, features.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments(features).covariance, np.cov(features, rowvar=False), rtol=1e-10, atol=1e-12)


def test_a_large_mean_costs_no_precision() -> None:
    """Sums of raw squares would lose everything here: the mean is 1e7 deviations away."""
    features = np.round(correlated(0, 400) * 1024) / 1024
    moved = moments(features + 2.0**24)
    np.testing.assert_allclose(moved.covariance, np.cov(features, rowvar=False), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("count", [0, 7, 24, 100])
def test_arrays_restore_moments_to_the_bit(count: int) -> None:
    features = correlated(0, count + 5)
    original = moments(features[:count])
    restored = Moments.from_arrays({name: value.copy() for name, value in original.to_arrays().items()})
    for each in (original, restored):
        each.update(features[count:])
    assert restored.count == original.count
    assert np.array_equal(restored.covariance, original.covariance)


def test_errors_name_the_reason() -> None:
    features = correlated(0, 9)
    with pytest.raises(MetricError, match="at least 2 images, not 1"):
        distance(features[:1], features)
    with pytest.raises(MetricError, match="at least 2 images, not 0"):
        frechet_distance(moments(features), Moments(DIM))
    seen = moments(features)
    broken = features.copy()
    broken[4, 3] = np.nan
    with pytest.raises(MetricError, match="features of image 13 are not finite"):
        seen.update(broken)
    with pytest.raises(MetricError, match=r"shape \(9, 24\); expected \[N, 8\]"):
        Moments(8).update(features)
    with pytest.raises(MetricError, match="24 and 8 dimensions"):
        frechet_distance(seen, moments(features[:, :8]))
