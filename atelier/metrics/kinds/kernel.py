"""The kernel distance (Bińkowski et al. 2018, section 4)."""

from __future__ import annotations

from atelier.config.metrics import Need, Value
from atelier.metrics.kernel import SUBSETS, kernel_distance, kernel_standard_error, subset_size
from atelier.metrics.metric import Metric, Results, View

DISTANCE = Value("kernel", "Kernel distance", higher_is_better=False, in_space="kernel", published=("kid", "KID"), decides=True)


class Kernel(Metric):
    title = "kernel distance, which has no bias"
    values = (DISTANCE,)
    needs = frozenset({Need.REAL_FEATURES})

    def __call__(self, view: View) -> Results:
        features, real = view.features, view.reference.features
        value, deviation = kernel_distance(features, real, seed=view.seed)
        error = kernel_standard_error(features, real, view.seed)
        how = f"cubic polynomial, unbiased, {SUBSETS} subsets of {subset_size(view.count, view.reference.count)}"
        distance = view.measurement(DISTANCE, value, error, how)
        return Results([distance], spread={distance.name: deviation})
