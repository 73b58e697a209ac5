"""Precision, recall, density and coverage against the package prdc, and what counts as memorised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from prdc import compute_prdc

from atelier.data.packed import PackedDataset
from atelier.extractors import load_extractor
from atelier.metrics import distances
from atelier.metrics.coverage import memorization, prdc
from atelier.metrics.identity import MetricError

RANDOM = np.random.default_rng(0)


def clouds(count: int, other: int, dim: int = 16, scale: float = 0.9, shift: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    real = RANDOM.standard_normal((count, dim)).astype(np.float32)
    return real, (RANDOM.standard_normal((other, dim)) * scale + shift).astype(np.float32)


@pytest.mark.parametrize(("count", "other", "k"), [(200, 200, 5), (1100, 600, 5), (80, 300, 3), (20, 12, 1)])
def test_values_are_those_of_the_package(count: int, other: int, k: int) -> None:
    real, generated = clouds(count, other)
    found, expected = prdc(real, generated, k), compute_prdc(real, generated, k)
    for name, value in expected.items():
        assert getattr(found, name)[0] == pytest.approx(value, abs=1e-12), name


def test_values_on_features_of_real_digits_are_those_of_the_package(digits: Path) -> None:
    train, test = PackedDataset(digits), PackedDataset(digits, "test")
    extractor = load_extractor("efficientnet_lite0", "packaged", (28, 28))
    real = extractor.features(train.images(np.arange(120)))
    other = extractor.features(test.images(np.arange(120)))
    found, expected = prdc(real, other), compute_prdc(real, other, 5)
    assert {name: getattr(found, name)[0] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_how_rows_are_cut_into_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = clouds(150, 130)
    whole = prdc(real, generated), memorization(generated, real, real[:40] + 0.5)
    monkeypatch.setattr(distances, "BLOCK", 7)
    assert (prdc(real, generated), memorization(generated, real, real[:40] + 0.5)) == whole


def test_an_ideal_generator_and_a_collapsed_one() -> None:
    real, ideal = clouds(500, 500, scale=1.0, shift=0.0)
    found = prdc(real, ideal)
    assert found.coverage[0] > 0.93 and found.recall[0] > 0.8 and found.density[0] == pytest.approx(1, abs=0.15)
    collapsed = prdc(real, np.repeat(ideal[:1], 500, axis=0))
    assert collapsed.recall == (0, 0) and collapsed.coverage[0] < 0.1
    half = prdc(real, ideal[ideal[:, 0] > 0])
    assert half.precision[0] > 0.8 and half.coverage[0] < found.coverage[0] - 0.1


def test_the_errors_are_those_of_shares() -> None:
    value, error = prdc(*clouds(400, 300)).precision
    assert error == pytest.approx((value * (1 - value) / 300) ** 0.5)
    draws = [prdc(clouds(400, 1)[0], clouds(1, 300)[1]).density for _ in range(60)]
    assert np.std([value for value, _ in draws]) == pytest.approx(np.mean([error for _, error in draws]), rel=0.5)


def test_a_generator_that_replays_its_training_images_has_memorised() -> None:
    training, held_out = clouds(2000, 500, dim=8, scale=1.0, shift=0.0)
    fresh = clouds(1, 1000, dim=8, scale=1.0, shift=0.0)[1]
    assert memorization(training[:300], training, held_out) == (1.0, 0.0)
    noisy = training[:300] + RANDOM.standard_normal((300, 8)) * 0.01
    assert memorization(noisy.astype(np.float32), training, held_out)[0] > 0.95
    assert memorization(fresh, training, held_out)[0] < 0.03
    assert memorization(held_out, training, held_out)[0] <= 0.01
    mixed = memorization(np.concatenate([training[:100], fresh[:300]]), training, held_out)
    assert mixed[0] == pytest.approx(0.25, abs=0.02) and mixed[1] == pytest.approx((0.25 * 0.75 / 400) ** 0.5, rel=0.1)


@pytest.mark.parametrize(("count", "other"), [(5, 50), (50, 5)])
def test_too_few_images_are_refused(count: int, other: int) -> None:
    with pytest.raises(MetricError, match=f"more than 5 images a set, not {other} generated and {count} real ones"):
        prdc(*clouds(count, other))


def test_features_that_do_not_fit_are_refused() -> None:
    real, generated = clouds(20, 20)
    with pytest.raises(MetricError, match=r"shapes \(20, 16\) and \(20, 8\)"):
        prdc(real, generated[:, :8])
    generated[3, 3] = np.nan
    with pytest.raises(MetricError, match="not finite"):
        prdc(real, generated)
    with pytest.raises(MetricError, match="not finite"):
        memorization(generated, real, real)
    with pytest.raises(MetricError, match=r"raise data.NAME.holdout"):
        memorization(real, real, real[:0])
