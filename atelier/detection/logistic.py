"""Logistic regression on standardized columns, with a quadratic penalty: convex, so it has one solution and needs no seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

PENALTY = 1e-2
STEPS = 300


@dataclass(frozen=True)
class Line:
    """score = (row - mean) / scale * slope + offset; the first three float64 [D]."""

    mean: np.ndarray
    scale: np.ndarray
    slope: np.ndarray
    offset: float

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Logits float64 [N] of rows [N, D]: above 0 the row is rather of the second class."""
        return (rows - self.mean) / self.scale @ self.slope + self.offset


def fit(rows: np.ndarray, second: np.ndarray, penalty: float = PENALTY) -> Line:
    """The line that minimizes mean log(1 + exp(-y score)) + penalty / 2 |slope|^2, y being 1 where `second` bool [N], else -1.

    Rows [N, D]; both classes weigh alike, however many rows each has. L-BFGS (Liu and Nocedal 1989), on any number of cores.
    """
    mean, deviation = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > 0, deviation, 1.0)
    scaled, sign = (rows - mean) / scale, np.where(second, 1.0, -1.0)
    weights = np.where(second, 0.5 / second.sum(), 0.5 / (~second).sum())

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        slope, offset = values[:-1], values[-1]
        margins = sign * (scaled @ slope + offset)
        pull = -weights * sign * expit(-margins)
        value = weights @ np.logaddexp(0, -margins) + penalty / 2 * slope @ slope
        return float(value), np.append(scaled.T @ pull + penalty * slope, pull.sum())

    found = minimize(loss, np.zeros(rows.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
    return Line(mean, scale, found[:-1], float(found[-1]))
