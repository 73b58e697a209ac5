"""How far generated images are from the pictures that they were made from, in the features of a network."""

from __future__ import annotations

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Results, View

CHANGE = Value("content", "Change of content against the input (1 - cosine)", higher_is_better=False, in_space="content")


class Content(Metric):
    title = "change of content against the input, needs pictures as inputs"
    values = (CHANGE,)
    needs = frozenset({Need.PICTURE_FEATURES})

    def __call__(self, view: View) -> Results:
        from atelier.metrics.pairs import cosine_distance, mean

        assert view.pictures is not None
        value, error = mean(cosine_distance(view.features, view.pictures))
        return Results([view.measurement(CHANGE, value, error, "1 - cosine of the features, image by image")])
