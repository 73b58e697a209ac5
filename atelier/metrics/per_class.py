"""The Fréchet distance within each class: a generator may synthesize most classes well and one of them badly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from atelier.metrics.frechet import Moments, frechet_estimate
from atelier.metrics.identity import MetricError

FEWEST_FOR_ERROR = 5


def per_class(
    generated: np.ndarray,
    generated_labels: np.ndarray,
    reference: np.ndarray,
    reference_labels: np.ndarray,
    classes: Sequence[str],
) -> dict[str, tuple[float, float | None]]:
    """Fréchet distance between the generated [N, d] and the reference features [M, d] of each class, by its name, in order.

    Labels int64 [N] and [M] count the names in `classes`. Beside each distance stands its standard error over the draw of the
    generated images, None below 5 of them, where it would be too small. A class of few images has a larger distance than
    one of many, by chance alone (see extrapolation): compare values of equal counts.

    Raises MetricError for a class with fewer than two images on a side, naming it, or labels that do not fit.
    """
    for what, features, labels in (("generated", generated, generated_labels), ("reference", reference, reference_labels)):
        if labels.shape != (len(features),) or (len(labels) and not 0 <= labels.min() <= labels.max() < len(classes)):
            raise MetricError(f"labels of {what} images do not fit: {len(features)} of them must be in 0 … {len(classes) - 1}")
    distances: dict[str, tuple[float, float | None]] = {}
    for label, name in enumerate(classes):
        own, real = generated[generated_labels == label], reference[reference_labels == label]
        if min(len(own), len(real)) < 2:
            raise MetricError(
                f"class {name} has {len(own)} generated and {len(real)} reference images, and a distance needs 2 of each; "
                "raise the number of images, or measure without per_class"
            )
        first, second = Moments.of(own), Moments.of(real)
        value, error = frechet_estimate(own, first, second)
        distances[name] = (value, error if len(own) >= FEWEST_FOR_ERROR else None)
    return distances


def worst(distances: dict[str, tuple[float, float | None]]) -> tuple[str, float]:
    """Name and distance of the class with the largest distance; the first of equal ones."""
    name = max(distances, key=lambda name: distances[name][0])
    return name, distances[name][0]
