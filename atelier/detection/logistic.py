"""Multinomial logistic regression on standardized columns, with a quadratic penalty: convex, so its scores need no seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

PENALTY = 1e-2
STEPS = 150


@dataclass(frozen=True)
class Lines:
    """Logits of outcomes = (row - mean) / scale @ slopes + offsets: the first two float64 [D], slopes [D, K], offsets [K].

    The first half of the outcomes is real, in one version of an image each, the second half generated.
    """

    mean: np.ndarray
    scale: np.ndarray
    slopes: np.ndarray
    offsets: np.ndarray

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """log P(generated) - log P(real), float64 [N], of rows [N, D]: summed over versions, so that each row is judged by what
        tells in the version that it seems to be in."""
        return of_halves((rows - self.mean) / self.scale @ self.slopes + self.offsets)


def of_halves(logits: np.ndarray) -> np.ndarray:
    """log P(second half of the outcomes) - log P(first half), float64 [N], of logits [N, K]."""
    real, generated = np.split(logits, 2, axis=1)
    return np.asarray(logsumexp(generated, axis=1) - logsumexp(real, axis=1))


def fit(rows: np.ndarray, outcomes: np.ndarray, penalty: float = PENALTY) -> Lines:
    """The lines that minimize mean -log P(outcome) + penalty / 2 |slopes|^2, P being the softmax of the logits.

    Rows [N, D], outcomes int [N] from 0 to K - 1; each outcome weighs alike, however many rows it has. L-BFGS (Liu and
    Nocedal 1989), with products in single precision.
    """
    mean, deviation = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > 0, deviation, 1.0)
    scaled, counts = ((rows - mean) / scale).astype(np.float32), np.bincount(outcomes)
    weights, true = 1 / (len(counts) * counts[outcomes]), np.eye(len(counts))[outcomes]
    shape = (rows.shape[1] + 1, len(counts))

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        slopes, offsets = np.split(values.reshape(shape), [-1])
        likelihood = log_softmax(scaled @ slopes.astype(np.float32) + offsets, axis=1)
        pull = weights[:, None] * (np.exp(likelihood) - true)
        value = -weights @ (likelihood * true).sum(axis=1) + penalty / 2 * np.square(slopes).sum()
        return float(value), np.concatenate(
            [scaled.T @ pull.astype(np.float32) + penalty * slopes, pull.sum(axis=0)[None]]
        ).ravel()

    found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x.reshape(shape)
    return Lines(mean, scale, found[:-1], found[-1])
