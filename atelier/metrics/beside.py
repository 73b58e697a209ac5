"""What stands beside a distance of translations: where they start, and how near real images of the same set come."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from atelier.config.metrics import Value
from atelier.metrics.identity import Measurement
from atelier.metrics.metric import View
from atelier.metrics.pairs import how_enlarged, start_of
from atelier.metrics.reference import Reference, reference_indices


def start_and_floor(
    view: View, value: Value, distance: Callable[[np.ndarray], tuple[float, float | None]], parameters: str
) -> list[Measurement]:
    """`value.of_input` of the pictures that the images were made from, and `value.of_training` of as many images trained on.

    `distance` of features from the reference gives a number and its standard error. Each is left out where there is no such. Of
    pictures that were enlarged it is `value.of_bicubic`.
    """
    found = []
    if view.pictures is not None:
        start, how = start_of(value, view.enlarged), f"{parameters}{how_enlarged(view.enlarged)}"
        found.append(view.measurement(start, *distance(view.pictures), how))
    if view.training is not None:
        found.append(_floor(view, value.of_training, distance, view.training, parameters))
    return found


def _floor(
    view: View,
    value: Value,
    distance: Callable[[np.ndarray], tuple[float, float | None]],
    training: Reference,
    parameters: str,
) -> Measurement:
    drawn = reference_indices(training.count, view.seed, cap=view.count)
    number, error = view.once(value.kind, lambda: distance(training.features[drawn]))
    images = {"samples": len(drawn), "sampling": f"real images: {training.images}, drawn with the seed"}
    return view.measurement(value, number, error, parameters, **images)
