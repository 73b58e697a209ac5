"""The Fréchet distance extrapolated to endlessly many generated images (Chong and Forsyth 2020)."""

from __future__ import annotations

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Results, View

DISTANCE = Value(
    "frechet_infinity",
    "Fréchet distance of endless images",
    higher_is_better=False,
    in_space="extrapolated_frechet",
    published=("extrapolated_fid", "FID of endless images"),
)


class FrechetInfinity(Metric):
    title = "Fréchet distance of endless images"
    values = (DISTANCE,)
    needs = frozenset({Need.FEATURES})
    fewest_generated = 4

    def __call__(self, view: View) -> Results:
        from atelier.metrics.extrapolation import frechet_infinity

        value, error = frechet_infinity(view.features, view.reference.moments, view.seed)
        how = "ddof 1, 2 d(N) - d(N / 2), halves drawn with the seed"
        return Results([view.measurement(DISTANCE, value, error, how)])
