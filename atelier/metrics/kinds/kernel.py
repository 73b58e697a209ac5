"""The kernel distance (Bińkowski et al. 2018, section 4); beside translations, that of their inputs and of images trained on."""

from __future__ import annotations

import numpy as np

from atelier.config.metrics import Need, Value
from atelier.metrics.kernel import SUBSETS, kernel_distance, kernel_standard_error, subset_size
from atelier.metrics.metric import Metric, Results, View

DISTANCE = Value("kernel", "Kernel distance", higher_is_better=False, in_space="kernel", published=("kid", "KID"), decides=True)


class Kernel(Metric):
    title = "kernel distance, which has no bias"
    values = (DISTANCE, DISTANCE.of_input, DISTANCE.of_bicubic, DISTANCE.of_training)
    needs = frozenset({Need.REAL_FEATURES})
    uses = frozenset({Need.PICTURE_FEATURES, Need.TRAINING})

    def __call__(self, view: View) -> Results:
        from atelier.metrics.beside import start_and_floor

        features, real = view.features, view.reference.features

        def estimate(others: np.ndarray) -> tuple[float, float]:
            return kernel_distance(others, real, seed=view.seed)[0], kernel_standard_error(others, real, view.seed)

        value, deviation = kernel_distance(features, real, seed=view.seed)
        error = kernel_standard_error(features, real, view.seed)
        how = f"cubic polynomial, unbiased, {SUBSETS} subsets of {subset_size(view.count, view.reference.count)}"
        distance = view.measurement(DISTANCE, value, error, how)
        return Results([distance, *start_and_floor(view, DISTANCE, estimate, how)], spread={distance.name: deviation})
