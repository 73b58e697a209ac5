"""The Fréchet distance at infinity against the closed form of Gaussians, and its standard error against repeated draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from atelier.metrics import extrapolation, frechet
from atelier.metrics.extrapolation import frechet_infinity
from atelier.metrics.frechet import Moments, frechet_distance, frechet_estimate
from atelier.metrics.identity import MetricError


def moments(features: np.ndarray) -> Moments:
    made = Moments(features.shape[1])
    made.update(features)
    return made


class World:
    """Gaussian generated features with a known distance to a reference whose sample moments are exactly those intended.

    As in networks' features a few directions hold most of the variance; those of the generator are turned a little.
    """

    def __init__(self) -> None:
        random, dim = np.random.default_rng(0), 64
        scales = np.exp(-np.arange(dim) / (0.4 * dim)) + 0.03
        axes = np.linalg.qr(random.standard_normal((dim, dim)))[0] * scales
        self.mix = (np.eye(dim) + 0.3 * random.standard_normal((dim, dim)) / np.sqrt(dim)) @ axes
        self.mean = 0.05 * random.standard_normal(dim)
        white = random.standard_normal((4 * dim, dim))
        white -= white.mean(axis=0)
        white = white @ np.linalg.inv(np.linalg.cholesky(np.cov(white, rowvar=False))).T
        self.reference = moments(white @ axes.T)
        theirs = self.mix @ self.mix.T
        crossed = np.sqrt(np.linalg.eigvalsh(axes.T @ theirs @ axes)).sum()
        self.distance = float(self.mean @ self.mean + (scales**2).sum() + np.trace(theirs) - 2 * crossed)

    def draw(self, count: int, seed: int) -> np.ndarray:
        white = np.random.default_rng(seed).standard_normal((count, len(self.mean)))
        return (white @ self.mix.T + self.mean).astype(np.float32)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.mark.parametrize(("count", "left"), [(200, 0.15), (500, 0.1), (1001, 0.1), (4000, 0.1)])
def test_is_nearer_to_the_closed_form_than_the_plain_distance(world: World, count: int, left: float) -> None:
    """On average over draws, of the plain distance's excess no more than `left` is left. 200 images are 3 per feature."""
    draws = [world.draw(count, seed) for seed in range(40 if count < 4000 else 15)]
    excess = np.mean([frechet_distance(moments(drawn), world.reference) for drawn in draws]) - world.distance
    found = np.array([frechet_infinity(drawn, world.reference, seed=0)[0] for drawn in draws]) - world.distance
    assert excess > 5 * world.distance / count  # there is something to extrapolate
    assert abs(found.mean()) < left * excess + 2 * found.std() / len(found) ** 0.5


@pytest.mark.parametrize(("count", "ratio"), [(1000, (0.8, 1.3)), (200, (0.8, 1.3)), (60, (0.8, 1.4)), (20, (0.8, 1.4))])
def test_the_error_is_what_repeated_draws_show(world: World, count: int, ratio: tuple[float, float]) -> None:
    found = np.array([frechet_infinity(world.draw(count, seed), world.reference, 0) for seed in range(100, 180)])
    assert ratio[0] < found[:, 1].mean() / found[:, 0].std(ddof=1) < ratio[1]


def test_spreads_hardly_more_than_the_plain_distance(world: World) -> None:
    draws = [world.draw(500, seed) for seed in range(80)]
    plain = np.std([frechet_distance(moments(drawn), world.reference) for drawn in draws])
    assert np.std([frechet_infinity(drawn, world.reference, 0)[0] for drawn in draws]) < 1.25 * plain


def test_is_the_line_through_the_whole_and_its_halves(world: World) -> None:
    drawn = world.draw(301, 7)
    order = np.random.default_rng(5).permutation(301)
    halves = np.mean([frechet_distance(moments(drawn[rows]), world.reference) for rows in (order[:151], order[151:])])
    expected = 2 * frechet_distance(moments(drawn), world.reference) - halves
    assert frechet_infinity(drawn, world.reference, seed=5)[0] == pytest.approx(expected, rel=1e-9)
    assert frechet_infinity(drawn, world.reference, seed=6)[0] != pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("count", [4, 63, 64, 65, 128, 400])
def test_an_error_falls_steadily_with_the_number_of_images(world: World, count: int) -> None:
    """Below `dim` images, at it, where the covariance is singular, and above."""
    drawn = world.draw(count + 1, 3)
    before, after = (frechet_estimate(part, moments(part), world.reference)[1] for part in (drawn[:count], drawn))
    assert after == pytest.approx(before, rel=1.5 / count**0.5)


def test_blocks_change_rounding_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = world.draw(300, 1)
    whole = frechet_infinity(drawn, world.reference, 0)
    for module in (extrapolation, frechet):
        monkeypatch.setattr(module, "BLOCK", 17)
    assert frechet_infinity(drawn, world.reference, 0) == pytest.approx(whole, rel=1e-12)


def test_identical_distributions_are_about_nothing_apart(world: World) -> None:
    """The plain distance is not, and a value below 0 is no error."""
    reference = moments(world.draw(20_000, 999))
    found = np.array([frechet_infinity(world.draw(400, seed), reference, 0)[0] for seed in range(20)])
    assert abs(found.mean()) < 0.1 * frechet_distance(moments(world.draw(400, 0)), reference)
    assert found.min() < 0


@pytest.mark.parametrize(
    "make", [lambda: np.full((30, 8), 2.0), lambda: np.full((7, 8), 2.0), lambda: np.outer(np.arange(30.0), np.arange(8.0))]
)
def test_collapsed_sets(make: Callable[[], np.ndarray]) -> None:
    """Constant and rank-deficient features, on either side: finite, and without error where nothing varies."""
    features, other = make().astype(np.float32), np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    for generated, real in ((features, other), (other, features), (features, features)):
        value, error = frechet_infinity(generated, moments(real), 0)
        assert np.isfinite([value, error]).all()
    if (features == 2).all():
        assert frechet_infinity(features, moments(other), 0) == pytest.approx(
            (frechet_distance(moments(features), moments(other)), 0)
        )
        assert frechet_infinity(features, moments(features), 0) == pytest.approx((0, 0), abs=1e-9)


def test_what_does_not_fit_is_refused(world: World) -> None:
    drawn = world.draw(20, 0)
    with pytest.raises(MetricError, match="at least 2 images in each half, so 4, not 3"):
        frechet_infinity(drawn[:3], world.reference, 0)
    with pytest.raises(MetricError, match=r"shape \(20, 8\); expected \[N, 64\]"):
        frechet_infinity(drawn[:, :8], world.reference, 0)
    drawn[11, 0] = np.inf
    with pytest.raises(MetricError, match="features of image 11 are not finite"):
        frechet_infinity(drawn, world.reference, 0)
