"""The Fréchet distance (Heusel et al. 2017, equation 6).

Beside it, of few images, what real images in the same numbers are apart; of translations, that of their inputs and of images
trained on.
"""

from __future__ import annotations

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Results, View

HOW = "ddof 1"
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
    values = (DISTANCE, OF_REAL, DISTANCE.of_input, DISTANCE.of_bicubic, DISTANCE.of_training)
    needs = frozenset({Need.FEATURES})
    uses = frozenset({Need.PICTURE_FEATURES, Need.TRAINING})

    def __call__(self, view: View) -> Results:
        from atelier.metrics.beside import start_and_floor
        from atelier.metrics.bias import beside, real_distance
        from atelier.metrics.frechet import Moments, frechet_estimate

        real = view.reference.moments
        value, error = frechet_estimate(view.features, view.moments, real)
        found = [view.measurement(DISTANCE, value, error, HOW)]
        if view.bias and min(view.count, view.reference.count) < view.extractor.dim:
            bias = view.once(OF_REAL.kind, lambda: real_distance(view.reference.features, view.count, view.seed))
            found += [] if bias is None else [beside(found[0], bias)]
        found += start_and_floor(view, DISTANCE, lambda features: frechet_estimate(features, Moments.of(features), real), HOW)
        return Results(found)
