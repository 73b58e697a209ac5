"""How much of a Fréchet distance is bias, against repeated draws from known distributions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from atelier.metrics.bias import beside, mostly_bias, of_real, real_distance, remarks
from atelier.metrics.frechet import Moments, frechet_distance
from atelier.metrics.identity import Identity, Measurement

DIM = 120
MIX = np.random.default_rng(2).standard_normal((24, DIM)) * np.exp(-np.arange(DIM) / 30) / 6


def white(count: int, random: np.random.Generator) -> np.ndarray:
    return random.standard_normal((count, DIM))


def like_a_network(count: int, random: np.random.Generator) -> np.ndarray:
    """Positive parts, a spectrum that decays."""
    return np.maximum(random.standard_normal((count, 24)) @ MIX + 0.3 * random.standard_normal((count, DIM)), 0)


def with_outliers(count: int, random: np.random.Generator) -> np.ndarray:
    spread = np.arange(1, DIM + 1) ** -0.5
    return random.standard_t(5, (count, DIM)) * spread * np.sqrt(random.chisquare(8, (count, 1)) / 8)


def distance(first: np.ndarray, second: np.ndarray) -> float:
    moments = []
    for rows in (first, second):
        moments.append(Moments(DIM))
        moments[-1].update(rows)
    return frechet_distance(*moments)


@pytest.mark.parametrize("draw", [white, like_a_network, with_outliers])
@pytest.mark.parametrize(
    ("count", "known"),
    [(10, 10), (30, 30), (60, 60), (30, 45), (20, 300), (60, 500), (100, 250), (100, 2000), (300, 60), (90, 100)],
)
def test_it_is_what_repeated_draws_show(draw: Callable[..., np.ndarray], count: int, known: int) -> None:
    random = np.random.default_rng(0)
    true = np.mean([distance(draw(count, random), draw(known, random)) for _ in range(6)])
    found = np.mean([real_distance(draw(known, random), count, seed) for seed in range(3)])
    assert found == pytest.approx(true, rel=0.25)


def test_half_of_a_reference_that_is_large_enough_needs_no_power_law() -> None:
    """300 real images for 60: 60 and 240 of them are drawn as they are."""
    random = np.random.default_rng(0)
    features = white(300, random)
    order = np.random.default_rng(5)
    drawn = [order.permutation(300) for _ in range(13)]
    expected = np.mean([distance(features[rows[:60]], features[rows[60:]]) for rows in drawn])
    assert real_distance(features, 60, seed=5) == pytest.approx(expected, rel=1e-12)
    assert real_distance(features, 60, seed=5) != real_distance(features, 60, seed=6)


def test_too_few_to_tell_and_images_that_are_all_the_same() -> None:
    assert real_distance(white(7, np.random.default_rng(0)), 60, 0) is None
    assert real_distance(white(8, np.random.default_rng(0)), 2, 0) is not None
    assert real_distance(np.ones((20, DIM)), 20, 0) == pytest.approx(0, abs=1e-9)


def measured(value: float, real: float | None) -> dict[str, Measurement]:
    identity = Identity("fid", "inception, 2048 features", "w", "none", 60, "files", "r", 70, 0, "ddof 1")
    one = Measurement(value, 1.0, identity, higher_is_better=False)
    both = [one] if real is None else [one, beside(one, real)]
    return {each.name: each for each in both}


def test_what_stands_beside_a_distance_has_an_identity_of_its_own() -> None:
    both = measured(10.0, 9.0)
    assert list(both) == ["fid", "real_fid"] and both["real_fid"].value == 9.0
    assert both["real_fid"].identity == replace(
        both["fid"].identity,
        metric="real_fid",
        kind="real_frechet",
        sampling="real images of the reference",
        parameters="ddof 1; expected of two samples in these numbers, drawn with the seed",
    )


@pytest.mark.parametrize(
    ("value", "real", "mostly"),
    [(10.0, 9.8, True), (10.0, 5.1, True), (10.0, 4.9, False), (10.0, None, False), (8.0, 9.0, True), (0.5, 9.0, False)],
)
def test_from_half_of_it_on_a_distance_is_mostly_bias(value: float, real: float | None, mostly: bool) -> None:
    both = measured(value, real)
    assert mostly_bias(both["fid"], both) is mostly
    told = f"two samples of real images in the same numbers (60 and 70) are about {real} apart".replace("9.0", "9")
    assert of_real(both["fid"], both) == ("" if real is None else told)
    expected = f"most of fid {value:g} is bias, for {told}; measure more images, or go by the kernel distance, which has no bias"
    assert remarks(list(both.values())) == ([expected] if mostly else [])
