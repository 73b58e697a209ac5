"""The mean absolute difference of generated images from their targets; beside it that of their inputs."""

from __future__ import annotations

from atelier.config.metrics import Need, Value, with_inputs
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View

DISTANCE = Value(
    "l1",
    "Mean difference from the target (L1), of the whole range",
    higher_is_better=False,
    form="share",
    decides=True,
    limit="max_l1",
    limit_text="mean difference (L1) of its images from their targets, as a share of the whole range",
)


class L1(Metric):
    title = "mean absolute difference (L1), needs targets"
    values = with_inputs(DISTANCE)
    needs = frozenset({Need.TARGET})

    def reader(self, real: RealImages) -> Reader:
        from atelier.metrics.pairs import PairReader, mean_absolute_error

        return PairReader(mean_absolute_error)

    def __call__(self, view: View) -> Results:
        from atelier.metrics.pairs import mean, results

        return results(view, {DISTANCE: mean}, "all channels of an image, over 255")
