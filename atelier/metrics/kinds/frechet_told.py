"""The Fréchet distance of images of text alone and of sound alone; that of both is the usual one."""

from __future__ import annotations

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Results, View

OF = {
    name: Value(
        f"frechet_{name}", f"Fréchet distance of images of {name} alone", higher_is_better=False, in_space=f"{name}_frechet"
    )
    for name in ("text", "sound")
}


class FrechetTold(Metric):
    title = "Fréchet distance of images of text alone and of sound alone"
    values = tuple(OF.values())
    needs = frozenset({Need.FEATURES, Need.TOLD, Need.MODEL})

    def __call__(self, view: View) -> Results:
        from atelier.metrics.frechet import Moments, frechet_estimate

        images = view.told
        found = []
        for name, value in OF.items():
            if name in images.kinds:
                features = view.extractor.features(images.of({name}))
                distance, error = frechet_estimate(features, Moments.of(features), view.reference.moments)
                how = f"made of {name} of records of {images.identity}"
                found.append(view.measurement(value, distance, error, "ddof 1", sampling=how))
        return Results(found)
