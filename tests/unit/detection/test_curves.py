"""Curves of a detector and the line that it draws, beside scikit-learn's."""

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


def test_a_line_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(3)
    second = np.arange(300) >= 220
    rows = random.normal(size=(300, 6)) * [1, 5, 0.1, 2, 1, 0] + 3 + second[:, None] * [0.5, -2, 0.02, 0, 1, 0]
    line = logistic.fit(rows, second, penalty=0.05)
    weights = np.where(second, 0.5 / second.sum(), 0.5 / (~second).sum())
    scaled = (rows - rows.mean(axis=0)) / np.where(rows.std(axis=0) > 0, rows.std(axis=0), 1)
    other = LogisticRegression(C=1 / 0.05, tol=1e-9, max_iter=5000).fit(scaled, second, sample_weight=weights)
    assert np.allclose(line.scores(rows), other.decision_function(scaled), atol=2e-3)
    assert line.slope[5] == 0  # of a constant column
