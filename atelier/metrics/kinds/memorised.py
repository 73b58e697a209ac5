"""The share of generated images that are nearer to a training image than nearly all new real images are."""

from __future__ import annotations

from atelier.config.metrics import Need, Value
from atelier.metrics.coverage import RARE, memorization
from atelier.metrics.metric import Metric, Results, View

SHARE = Value(
    "memorised",
    "Memorised (1% without copying)",
    higher_is_better=False,
    form="share",
    limit="max_memorised",
    limit_text="share of its images that are nearer to a training image than 99 % of held-out ones",
    caveat="{} of its images are nearer to a training image than 99% of held-out ones are (without copying: about 1%); the "
    "report shows the nearest.",
    unmeasured="It may generate near copies of training images: see the nearest real images in the report.",
)


class Memorised(Metric):
    title = "share of images too near to training images"
    values = (SHARE,)
    needs = frozenset({Need.REAL_FEATURES, Need.HELD_OUT})

    def __call__(self, view: View) -> Results:
        value, error = memorization(view.features, view.trained.features, view.held_out.features)
        how = f"nearer than {1 - RARE:.0%} of {view.held_out.count} images of the test split"
        return Results([view.measurement(SHARE, value, error, how)])
