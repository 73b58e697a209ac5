"""Curves of a detector and the lines that it draws, beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve

from atelier.detection import logistic
from atelier.detection.curves import auc, roc, threshold

REAL, GENERATED = (np.random.default_rng(seed).integers(0, 12, size) / 2 + seed for seed, size in ((0, 70), (1, 50)))


def test_area_and_curve_are_those_of_scikit_learn() -> None:
    truth, scores = np.repeat([0, 1], [len(REAL), len(GENERATED)]), np.concatenate([REAL, GENERATED])
    assert len(np.unique(scores)) < len(scores) / 2  # there are ties
    assert auc(REAL, GENERATED) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    false, found, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert np.allclose(roc(REAL, GENERATED), np.stack([false, found], axis=1))


def test_area_of_what_is_known() -> None:
    assert auc(np.arange(3.0), np.arange(3.0) + 5) == 1 and auc(np.arange(3.0) + 5, np.arange(3.0)) == 0
    assert auc(np.ones(4), np.ones(7)) == 0.5


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_a_threshold_is_the_lowest_that_keeps_the_rate(rate: float) -> None:
    scores = np.random.default_rng(2).normal(size=240)
    found = threshold(scores, rate)
    assert (scores > found).mean() <= rate
    lower = np.sort(scores)[np.searchsorted(np.sort(scores), found) - 1]
    assert (scores > lower).mean() > rate


@pytest.mark.parametrize("outcomes", [2, 4])
def test_lines_are_those_of_scikit_learn(outcomes: int) -> None:
    random = np.random.default_rng(3)
    own = random.permutation(np.repeat(np.arange(outcomes), np.arange(outcomes) * 30 + 60))
    rows = random.normal(size=(len(own), 6)) * [1, 5, 0.1, 2, 1, 0] + 3 + own[:, None] * [0.5, -2, 0.02, 0, 1, 0]
    lines = logistic.fit(rows, own, penalty=0.05)
    weights = 1 / (outcomes * np.bincount(own)[own])
    scaled = (rows - rows.mean(axis=0)) / np.where(rows.std(axis=0) > 0, rows.std(axis=0), 1)
    strength = 0.05 if outcomes > 2 else 0.025  # of two, scikit-learn has one slope, which is the difference of these
    other = LogisticRegression(C=1 / strength, tol=1e-9, max_iter=5000).fit(scaled, own, sample_weight=weights)
    found, half = other.predict_log_proba(scaled), outcomes // 2
    expected = np.logaddexp.reduce(found[:, half:], axis=1) - np.logaddexp.reduce(found[:, :half], axis=1)
    assert np.allclose(lines.scores(rows), expected, atol=2e-3)
    assert not lines.slopes[5].any()  # of a constant column
