"""The Inception Score against torch-fidelity and its definition; its standard error against repeated draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

from atelier.metrics import inception_score
from atelier.metrics.identity import MetricError
from atelier.metrics.inception_score import class_score, logits

HEAD = np.random.default_rng(0).standard_normal((60, 32))


def drawn(count: int, seed: int, scale: float = 0.7) -> np.ndarray:
    """Logits float32 [count, 60]; the scale says how sure they are."""
    return (np.random.default_rng(seed).standard_normal((count, 32)) @ HEAD.T * scale).astype(np.float32)


@pytest.mark.parametrize(("count", "splits", "seed"), [(503, 10, 2020), (503, 7, 0), (60, 1, 2020), (50, 10, 3)])
@pytest.mark.parametrize("scale", [0.05, 0.7, 10])
def test_equals_torch_fidelity(count: int, splits: int, seed: int, scale: float) -> None:
    found = drawn(count, 1, scale)
    peer = isc_features_to_metric(torch.from_numpy(found), splits, True, seed)
    value, deviation, _ = class_score(found, splits, seed)
    assert value == pytest.approx(peer[KEY_METRIC_ISC_MEAN], rel=1e-12)
    assert deviation == pytest.approx(peer[KEY_METRIC_ISC_STD], rel=1e-9, abs=1e-12)


def test_the_default_is_the_published_convention() -> None:
    found = drawn(300, 2)
    assert class_score(found)[0] == pytest.approx(isc_features_to_metric(torch.from_numpy(found))[KEY_METRIC_ISC_MEAN], rel=1e-12)


def test_closed_forms() -> None:
    """Sure of one class each, all classes alike: their number. Equally unsure of every image: 1."""
    sure = np.tile(np.eye(8) * 1e4, (50, 1))
    assert class_score(sure, splits=1) == pytest.approx((8, 0, 0), rel=1e-9, abs=1e-9)
    assert class_score(np.zeros((400, 8))) == pytest.approx((1, 0, 0), abs=1e-9)
    half = np.where(np.arange(400)[:, None] % 2 == np.arange(2), 0.0, -np.log(3))  # 3/4 and 1/4
    assert class_score(half, splits=1)[0] == pytest.approx(np.exp(0.75 * np.log(1.5) + 0.25 * np.log(0.5)), rel=1e-12)


def test_a_class_that_no_image_has_is_no_nan() -> None:
    """torch-fidelity gives NaN: 0 times the infinite logarithm of 0."""
    found = drawn(400, 3)
    found[:, 5] = -1e5
    assert np.isnan(isc_features_to_metric(torch.from_numpy(found))[KEY_METRIC_ISC_MEAN])
    assert class_score(found) == pytest.approx(class_score(np.delete(found, 5, axis=1)), rel=1e-9)


@pytest.mark.parametrize(("count", "scale", "ratio"), [(60, 0.7, (0.8, 1.3)), (300, 0.7, (0.9, 1.35)), (300, 0.1, (0.85, 1.2))])
def test_the_error_is_what_repeated_draws_show(count: int, scale: float, ratio: tuple[float, float]) -> None:
    scores = np.array([class_score(drawn(count, seed, scale)) for seed in range(100, 300)])
    assert ratio[0] < scores[:, 2].mean() / scores[:, 0].std(ddof=1) < ratio[1]


def test_the_error_is_that_of_leaving_out_each_image() -> None:
    found = drawn(12, 4)
    without = np.array([class_score(np.delete(found, image, axis=0), splits=1)[0] for image in range(12)])
    expected = np.sqrt(11 / 12 * ((without - without.mean()) ** 2).sum())
    assert class_score(found, splits=1)[2] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("bias", [None, np.random.default_rng(5).standard_normal(60).astype(np.float32)])
def test_logits_are_those_of_the_head(bias: np.ndarray | None, monkeypatch: pytest.MonkeyPatch) -> None:
    features, weight = np.random.default_rng(6).standard_normal((45, 32)).astype(np.float32), HEAD.astype(np.float32)
    expected = features.astype(np.float64) @ weight.T.astype(np.float64) + (0 if bias is None else bias)
    found = logits(features, (weight, bias))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    monkeypatch.setattr(inception_score, "BLOCK", 7)
    np.testing.assert_allclose(logits(features, (weight, bias)), found, rtol=1e-6, atol=1e-6)


def test_what_does_not_fit_is_refused() -> None:
    found = drawn(60, 0)
    with pytest.raises(MetricError, match=r"5 images in each of 10 splits, so 50, not 49; raise the number of images"):
        class_score(found[:49])
    with pytest.raises(MetricError, match=r"shape \(60,\); expected \[N, K\]"):
        class_score(found[:, 0])
    found[7, 7] = np.nan
    with pytest.raises(MetricError, match="logits are not finite"):
        class_score(found)
    with pytest.raises(MetricError, match=r"features have shape \(9, 8\); the classifier's head takes \[N, 32\]"):
        logits(np.ones((9, 8)), (HEAD, None))
