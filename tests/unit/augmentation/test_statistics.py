"""Paired tests and Holm's correction, held to scipy and to the definition by closed testing."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from atelier.augmentation.statistics import holm, interval, paired


@pytest.mark.parametrize("count", [2, 3, 5, 25])
def test_the_paired_test_is_scipys(count: int) -> None:
    random = np.random.default_rng(count)
    one, other = random.normal(0.8, 0.05, count), random.normal(0.77, 0.05, count)
    found, expected = paired(one.tolist(), other.tolist()), stats.ttest_rel(one, other)
    reach = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.difference == pytest.approx(((one - other).mean(), reach.low, reach.high), rel=1e-9)


def test_an_interval_is_that_of_students_t() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 5)
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert interval(values.tolist()) == pytest.approx((values.mean(), low, high), rel=1e-9)
    assert interval([0.25]) == (0.25, 0.25, 0.25)


def test_differences_without_spread_are_certain() -> None:
    assert paired([0.5, 0.5], [0.5, 0.5]).p == 1
    assert paired([0.6, 0.7, 0.8], [0.5, 0.6, 0.7]).p == 0
    with pytest.raises(ValueError, match="1 pairs"):
        paired([1.0], [0.0])


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_the_closed_test_of_bonferroni(seed: int) -> None:
    """A hypothesis is rejected where Bonferroni rejects every set of hypotheses that it is in (Marcus et al. 1976)."""
    p = np.random.default_rng(seed).uniform(0, 0.3, 5).round(2).tolist()
    sets = [group for size in range(1, 6) for group in combinations(range(5), size)]
    closed = [max(min(1.0, len(group) * min(p[n] for n in group)) for group in sets if test in group) for test in range(5)]
    assert holm(p) == pytest.approx(closed)


def test_holm_of_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # Wright 1992, table 1
    assert holm([]) == []
