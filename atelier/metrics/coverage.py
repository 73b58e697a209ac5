"""Generated images among real ones, by nearest neighbors in a feature space: precision, recall, density and coverage
(Kynkäänniemi et al. 2019, equations 1 and 2; Naeem et al. 2020, equations 3 to 6), and the memorized share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atelier.metrics.distances import Pairs, nearest
from atelier.metrics.identity import MetricError

NEIGHBORS = 5
RARE = 0.01  # share of new real images that lie as near to a training image as what counts as memorised


@dataclass(frozen=True)
class Shares:
    """The four measures, each with its standard error: (value, error). Density may exceed 1, the others are shares."""

    precision: tuple[float, float]
    recall: tuple[float, float]
    density: tuple[float, float]
    coverage: tuple[float, float]


def prdc(real: np.ndarray, generated: np.ndarray, k: int = NEIGHBORS) -> Shares:
    """Precision, recall, density and coverage of generated features [N, d] among real ones [M, d].

    An image's ball reaches to its k-th nearest neighbor in its own set, and what lies on its rim is outside, as in the package
    prdc; but equal images are always inside, or a set with more than k copies of an image would not cover itself. Which pairs
    tie is the same on every machine (atelier.metrics.distances). The values depend on N and M: compare equal ones only. Raises
    MetricError on k images or fewer, or other widths.
    """
    _check(real, generated)
    if min(len(real), len(generated)) <= k:
        raise MetricError(
            f"prdc needs more than {k} images a set, not {len(generated)} generated and {len(real)} real ones; add images"
        )
    real_radii, generated_radii = _radii(real, k), _radii(generated, k)
    in_real = np.zeros(len(generated))  # of how many real images' balls each generated image lies in
    recalled, covered = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for block in Pairs(generated, real).blocks():
        inside = block.inside(real_radii)
        in_real[block.rows] = inside.sum(axis=1)
        covered |= inside.any(axis=0)
        recalled |= block.inside(generated_radii[block.rows, None]).any(axis=0)
    return Shares(
        precision=_share(in_real > 0),
        recall=_share(recalled),
        density=(float(in_real.mean() / k), float(in_real.std(ddof=1) / k / np.sqrt(len(in_real)))),
        coverage=_share(covered),
    )


def memorization(generated: np.ndarray, training: np.ndarray, held_out: np.ndarray) -> tuple[float, float]:
    """Share of generated features [N, d] nearer to a training one [M, d] than 99 % of held-out real ones [H, d] are, and its
    standard error. About 0.01 for new images of the same kind, 1 for a generator that replays its training images.

    Raises MetricError on other widths, or sets without images.
    """
    _check(training, generated)
    _check(training, held_out)
    if not (len(generated) and len(training) and len(held_out)):
        raise MetricError("memorised needs generated, training and held-out images; raise data.NAME.holdout")
    limit = np.quantile(_nearest(held_out, training), RARE, method="lower")
    return _share(_nearest(generated, training) < limit)


def _check(first: np.ndarray, second: np.ndarray) -> None:
    for features in (first, second):
        if features.ndim != 2 or features.shape[1] != first.shape[1]:
            raise MetricError(f"features have shapes {first.shape} and {second.shape}; expected [N, d] and [M, d]")
        if not np.isfinite(features).all():
            raise MetricError("features are not finite; look for NaN in the generator")


def _share(hits: np.ndarray) -> tuple[float, float]:
    value = float(hits.mean())
    return value, float(np.sqrt(value * (1 - value) / len(hits)))


def _radii(features: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each row to its k-th nearest other row: nearest of all is itself, or one that is equal."""
    return nearest(features, features, k + 1)[1][:, -1]


def _nearest(features: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Squared distance of each row to the nearest training row."""
    return nearest(features, training, 1)[1][:, 0]
