"""The structural similarity of generated images to their targets (Wang et al. 2004); beside it that of their inputs."""

from __future__ import annotations

from atelier.config.metrics import Need, Value, with_inputs
from atelier.metrics.identity import MetricError
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View

SIMILARITY = Value(
    "ssim",
    "Structural similarity (SSIM) to the target",
    higher_is_better=True,
    form="share",
    limit="min_ssim",
    limit_text="structural similarity (SSIM) of its images to their targets",
)


class Ssim(Metric):
    title = "structural similarity (SSIM), needs targets"
    values = with_inputs(SIMILARITY)
    needs = frozenset({Need.TARGET})

    def reader(self, real: RealImages) -> Reader:
        from atelier.metrics.pairs import WINDOW, PairReader, ssim

        if real.dataset.resolution < WINDOW:
            raise MetricError(
                f"evaluate.metrics: ssim looks through a window of {WINDOW} px and {real.dataset.folder} has images of "
                f"{real.dataset.resolution} px; {self.removal}"
            )
        return PairReader(ssim, border=True, least=WINDOW)

    def __call__(self, view: View) -> Results:
        from atelier.metrics.pairs import mean, results

        how = "Gaussian window of 11 px, deviation 1.5, where it lies inside; channel by channel, range 255"
        return results(view, {SIMILARITY: mean}, how)
