"""What holds of the metrics whatever the features, as hypothesis searches; and how they order images as noise and blur grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from atelier.extractors import load_extractor
from atelier.extractors.base import Extractor
from atelier.metrics.coverage import prdc
from atelier.metrics.extrapolation import frechet_infinity
from atelier.metrics.frechet import Moments, frechet_distance, frechet_estimate
from atelier.metrics.inception_score import class_score
from atelier.metrics.kernel import kernel_distance, kernel_standard_error

searched = settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def features(draw: st.DrawFn, dim: int, fewest: int = 2, most: int = 40) -> np.ndarray:
    """float32 [N, dim], N about or below and above dim: of any rank down to 0, any scale, any offset, some rows twice."""
    count = draw(st.integers(fewest, most))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rank = draw(st.integers(0, dim))
    rows = random.standard_normal((count, rank)) @ random.standard_normal((rank, dim))
    rows = rows * 10.0 ** draw(st.integers(-3, 3)) + draw(st.sampled_from([0.0, 1.0, -30.0]))
    if draw(st.booleans()):
        rows = rows[random.integers(0, count, count)]
    return rows.astype(np.float32)


@st.composite
def pairs(draw: st.DrawFn, fewest: int = 2) -> tuple[np.ndarray, np.ndarray]:
    dim = draw(st.integers(1, 24))
    return draw(features(dim, fewest)), draw(features(dim, fewest))


def moments(rows: np.ndarray, batch: int = 1000) -> Moments:
    made = Moments(rows.shape[1])
    for start in range(0, len(rows), batch):
        made.update(rows[start : start + batch])
    return made


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    return frechet_distance(moments(first), moments(second))


def size(*sets: np.ndarray) -> float:
    """Of what rounding is a share of: the largest squared length of a feature."""
    return float(max((rows.astype(np.float64) ** 2).sum(axis=1).max() for rows in sets)) + 1e-12


def shuffled(rows: np.ndarray, seed: int) -> np.ndarray:
    return rows[np.random.default_rng(seed).permutation(len(rows))]


# --- Fréchet


@searched
@given(pairs())
def test_frechet_is_symmetric_and_at_least_the_distance_of_the_means(both: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = both
    found = frechet(first, second)
    assert isinstance(found, float) and np.isfinite(found)
    assert found == pytest.approx(frechet(second, first), rel=1e-7, abs=1e-7 * size(*both))
    gap = first.mean(axis=0, dtype=np.float64) - second.mean(axis=0, dtype=np.float64)
    assert found >= gap @ gap - 1e-7 * size(*both)


@searched
@given(st.integers(1, 24).flatmap(features))
def test_frechet_of_a_set_to_itself_is_nothing(rows: np.ndarray) -> None:
    assert frechet(rows, rows) == pytest.approx(0, abs=1e-7 * size(rows))


@searched
@given(pairs(), st.integers(1, 50), st.integers(0, 9))
def test_frechet_is_of_the_set_not_of_its_order_or_batches(both: tuple[np.ndarray, np.ndarray], batch: int, seed: int) -> None:
    first, second = both
    whole, other = frechet(first, second), moments(second)
    assert frechet_distance(moments(first, batch), other) == whole
    assert frechet(shuffled(first, seed), second) == pytest.approx(whole, rel=1e-7, abs=1e-7 * size(*both))


@searched
@given(pairs(), st.integers(0, 9))
def test_frechet_does_not_depend_on_the_axes(both: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    """Turned, moved and scaled together, sets keep their distance, but for the scale's square."""
    first, second = (rows.astype(np.float64) for rows in both)
    dim = first.shape[1]
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))[0]
    found = frechet(3 * first @ turn + 5, 3 * second @ turn + 5)
    assert found == pytest.approx(9 * frechet(first, second), rel=1e-6, abs=1e-6 * (size(*both) + 25 * dim))


@searched
@given(st.integers(1, 12).flatmap(lambda dim: st.tuples(*[features(dim, fewest=3)] * 3)))
def test_the_root_of_frechet_keeps_the_triangle_inequality(three: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    a, b, c = (moments(rows) for rows in three)
    way = np.sqrt(frechet_distance(a, b)) + np.sqrt(frechet_distance(b, c))
    assert np.sqrt(frechet_distance(a, c)) <= way * (1 + 1e-7) + 1e-3 * np.sqrt(size(*three))


@searched
@given(st.integers(1, 24), st.integers(2, 40), st.floats(0, 5), st.floats(-5, 5), st.integers(0, 99))
def test_frechet_of_a_scaled_and_moved_set(dim: int, count: int, scale: float, shift: float, seed: int) -> None:
    """For X and a X + b: |(a - 1) m + b|^2 + (a - 1)^2 tr S, whatever the covariance, of full rank or not."""
    rows = np.random.default_rng(seed).standard_normal((count, dim)) + 2
    moved = (scale - 1) * rows.mean(axis=0) + shift
    expected = moved @ moved + (scale - 1) ** 2 * rows.var(axis=0, ddof=1).sum()
    assert frechet(rows, scale * rows + shift) == pytest.approx(expected, rel=1e-7, abs=1e-7 * size(rows, scale * rows + shift))


@searched
@given(pairs(fewest=4))
def test_errors_and_extrapolations_are_finite(both: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = both
    error = frechet_estimate(first, moments(first), moments(second))[1]
    value, its = frechet_infinity(first, moments(second), seed=0)
    kernel = kernel_standard_error(first, second)
    assert all(isinstance(one, float) and np.isfinite(one) for one in (error, value, its, kernel))
    assert min(error, its, kernel) >= 0


# --- kernel distance


@searched
@given(pairs())
def test_kernel_is_symmetric_and_real(both: tuple[np.ndarray, np.ndarray]) -> None:
    """All of both sets in one subset, so that the draw does not matter."""
    first, second = (rows[: min(map(len, both))] for rows in both)
    found, deviation = kernel_distance(first, second, subsets=1)
    assert np.isfinite(found) and deviation == 0
    scale = (size(*both) / first.shape[1] + 1) ** 3
    assert found == pytest.approx(kernel_distance(second, first, subsets=1)[0], abs=1e-12 * scale)
    turned = kernel_distance(shuffled(first, 1), shuffled(second, 2), subsets=1)[0]
    assert found == pytest.approx(turned, abs=1e-12 * scale)


@searched
@given(st.integers(1, 24), st.integers(2, 30), st.integers(0, 99))
def test_kernel_of_a_set_to_itself_is_not_above_nothing(dim: int, count: int, seed: int) -> None:
    """The estimator leaves a row's kernel with itself out within the sets, but not across: below 0 by its mean excess."""
    rows = np.random.default_rng(seed).standard_normal((count, dim))
    kernel = (rows @ rows.T / dim + 1) ** 3
    inner, outer = kernel[~np.eye(count, dtype=bool)].mean(), kernel.mean()
    assert kernel_distance(rows, rows, subsets=1)[0] == pytest.approx(2 * (inner - outer), rel=1e-9, abs=1e-9)


@searched
@given(st.integers(1, 16), st.integers(2, 20), st.floats(-3, 3), st.floats(-3, 3))
def test_kernel_of_constant_sets(dim: int, count: int, first: float, second: float) -> None:
    """(a^2 + 1)^3 + (b^2 + 1)^3 - 2 (a b + 1)^3."""
    expected = (first**2 + 1) ** 3 + (second**2 + 1) ** 3 - 2 * (first * second + 1) ** 3
    found = kernel_distance(np.full((count, dim), first), np.full((count, dim), second), subsets=2)
    assert found == pytest.approx((expected, 0), rel=1e-9, abs=1e-9)


# --- precision, recall, density, coverage


@searched
@given(pairs(fewest=7), st.integers(1, 6), st.integers(0, 9))
def test_shares_are_shares_of_the_set_not_of_its_order(both: tuple[np.ndarray, np.ndarray], k: int, seed: int) -> None:
    real, generated = both
    found = prdc(real, generated, k)
    for value, error in (found.precision, found.recall, found.coverage):
        assert 0 <= value <= 1 and 0 <= error <= 0.5
    assert 0 <= found.density[0] <= len(real) / k * (1 + 1e-12)
    assert found.recall[0] == prdc(generated, real, k).precision[0]
    if len(np.unique(np.r_[real, generated], axis=0)) == len(real) + len(generated):
        assert prdc(shuffled(real, seed), shuffled(generated, seed + 1), k).precision[0] == pytest.approx(found.precision[0])


@searched
@given(st.integers(1, 16), st.integers(8, 40), st.integers(1, 6), st.integers(0, 99))
def test_a_set_covers_itself(dim: int, count: int, k: int, seed: int) -> None:
    rows = np.random.default_rng(seed).standard_normal((count, dim))
    found = prdc(rows, rows, k)
    assert (found.precision[0], found.recall[0], found.coverage[0]) == (1, 1, 1)
    assert found.density[0] == 1
    far = prdc(rows, rows + 1e3, k)
    assert (far.precision[0], far.recall[0], far.coverage[0], far.density[0]) == (0, 0, 0, 0)


# --- class score


@searched
@given(st.integers(2, 20), st.integers(10, 60), st.floats(0, 30), st.integers(0, 99))
def test_a_class_score_lies_between_one_and_the_number_of_classes(classes: int, count: int, scale: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = scale * random.standard_normal((count, classes))
    value, deviation, error = class_score(logits, splits=2)
    assert 1 - 1e-9 <= value <= min(classes, -(-count // 2)) + 1e-9
    assert deviation >= 0 and 0 <= error < np.inf
    moved = class_score(logits + random.standard_normal((count, 1)), splits=2)
    renamed = class_score(logits[:, random.permutation(classes)], splits=2)
    assert moved == pytest.approx((value, deviation, error), rel=1e-9, abs=1e-9)
    assert renamed == pytest.approx((value, deviation, error), rel=1e-9, abs=1e-9)
    assert class_score(shuffled(logits, seed), splits=1)[0] == pytest.approx(class_score(logits, splits=1)[0], rel=1e-9)


# --- real images


@pytest.fixture(scope="module")
def lite0() -> Extractor:
    return load_extractor("efficientnet_lite0", "packaged", (64, 64))


def gray(photographs: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(image.convert("L")) for image in photographs])[:, None]


def noisy(photographs: list[Image.Image]) -> Iterator[np.ndarray]:
    noise = np.random.default_rng(0).standard_normal((len(photographs), 1, 64, 64))
    for deviation in (5, 10, 20, 40, 80):
        yield np.clip(gray(photographs) + deviation * noise, 0, 255).round().astype(np.uint8)


def blurred(photographs: list[Image.Image]) -> Iterator[np.ndarray]:
    for radius in (0.5, 1, 2, 4, 8):
        yield gray([image.convert("L").filter(ImageFilter.GaussianBlur(radius)) for image in photographs])


@pytest.mark.parametrize("worse", [noisy, blurred])
def test_distances_grow_with_noise_and_with_blur(
    worse: Callable[[list[Image.Image]], Iterator[np.ndarray]], photographs: list[Image.Image], lite0: Extractor
) -> None:
    """Fréchet and kernel distance rise at each step of twice as much, and coverage sinks.

    Precision and density need not: bad images that gather where one real image lies alone are in its wide ball.
    """
    real = lite0.features(gray(photographs))
    seen = [real, *(lite0.features(images) for images in worse(photographs))]
    for values in ([frechet(one, real) for one in seen], [kernel_distance(one, real, subsets=1)[0] for one in seen]):
        assert (np.diff(values) > 0.05 * values[1]).all()
        assert values[0] < 0.05 * values[1]
    shares = [prdc(real, one).coverage[0] for one in seen]
    assert shares[0] == 1 and shares[-1] < 0.5 and (np.diff(shares) <= 0.05).all()
