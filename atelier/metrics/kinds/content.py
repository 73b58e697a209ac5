"""How far generated images are from the pictures that they were made from, in features; beside it, how far from others."""

from __future__ import annotations

import numpy as np

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Results, View

CHANGE = Value("content", "Change of content against the input (1 - cosine)", higher_is_better=False, in_space="content")
UNRELATED = Value(
    "unrelated_content",
    "Change of content against another input (1 - cosine)",
    higher_is_better=True,
    in_space="unrelated_content",
    subject="input",
)


class Content(Metric):
    title = "change of content against the input, needs pictures as inputs"
    values = (CHANGE, UNRELATED)
    needs = frozenset({Need.PICTURE_FEATURES})

    def __call__(self, view: View) -> Results:
        from atelier.metrics.pairs import cosine_distance, how_enlarged, mean

        assert view.pictures is not None
        how = f"1 - cosine of the features, image by image{how_enlarged(view.enlarged)}"
        value, error = mean(cosine_distance(view.features, view.pictures))
        found = [view.measurement(CHANGE, value, error, how)]
        value, error = mean(cosine_distance(view.features, np.roll(view.pictures, 1, axis=0)))
        return Results([*found, view.measurement(UNRELATED, value, error, f"{how}; each with the input before its own")])
