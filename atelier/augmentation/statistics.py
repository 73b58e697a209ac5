"""Tests of differences over seeds: the paired t test with its interval, and Holm's correction for many of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean with its 95 % interval by Student's t; both ends are the mean where there is one value alone."""

    mean: float
    low: float
    high: float


class Paired(NamedTuple):
    """The mean of differences, its 95 % interval, and the two-sided p of the paired t test against 0."""

    difference: Interval
    p: float


def interval(values: Sequence[float]) -> Interval:
    """The mean of independent values and its interval."""
    mean, error = _mean_and_error(values)
    reach = error * float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) if error else 0.0
    return Interval(mean, mean - reach, mean + reach)


def paired(one: Sequence[float], other: Sequence[float]) -> Paired:
    """One minus other, pair by pair (Student 1908). Differences that are all equal have p = 0, or 1 where they are all 0.

    Raises ValueError for fewer than two pairs, or sides of another length.
    """
    differences = [mine - theirs for mine, theirs in zip(one, other, strict=True)]
    if len(differences) < 2:
        raise ValueError(f"{len(differences)} pairs; a paired test needs two or more")
    mean, error = _mean_and_error(differences)
    p = 2 * float(stdtr(len(differences) - 1, -abs(mean / error))) if error else float(mean == 0)
    return Paired(interval(differences), p)


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p of a family of tests: an adjusted one below α keeps the chance of any false find below α (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    adjusted, largest = [0.0] * len(p), 0.0
    for place, test in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - place) * p[test]))
        adjusted[test] = largest
    return adjusted


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, 0.0
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return mean, 0.0 if spread < 1e-12 else spread / math.sqrt(len(values))
