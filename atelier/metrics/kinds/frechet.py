"""The Fréchet distance (Heusel et al. 2017, equation 6); of few images, what real images in the same numbers are apart, too."""

from __future__ import annotations

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Results, View

DISTANCE = Value(
    "frechet",
    "Fréchet distance",
    higher_is_better=False,
    in_space="frechet",
    published=("fid", "FID"),
    decides=True,
)
OF_REAL = Value(
    "real_frechet",
    "Fréchet distance between samples of real images",
    higher_is_better=False,
    in_space="real_frechet",
    published=("real_fid", "FID between samples of real images"),
    subject="real images",
)


class Frechet(Metric):
    title = "Fréchet distance"
    values = (DISTANCE, OF_REAL)
    needs = frozenset({Need.FEATURES})

    def __call__(self, view: View) -> Results:
        from atelier.metrics.bias import beside, real_distance
        from atelier.metrics.frechet import frechet_estimate

        value, error = frechet_estimate(view.features, view.moments, view.reference.moments)
        distance = view.measurement(DISTANCE, value, error, "ddof 1")
        if not view.bias or min(view.count, view.reference.count) >= view.extractor.dim:
            return Results([distance])
        real = view.once(OF_REAL.kind, lambda: real_distance(view.reference.features, view.count, view.seed))
        return Results([distance] if real is None else [distance, beside(distance, real)])
