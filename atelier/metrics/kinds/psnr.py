"""The peak signal-to-noise ratio of generated images against their targets; beside it that of their inputs."""

from __future__ import annotations

from atelier.config.metrics import Need, Value, with_inputs
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View

MEAN = Value("psnr", "PSNR in decibels, mean", higher_is_better=True)
MEDIAN = Value("psnr_median", "PSNR in decibels, median", higher_is_better=True)


class Psnr(Metric):
    title = "PSNR, mean and median, needs targets"
    values = with_inputs(MEAN, MEDIAN)
    needs = frozenset({Need.TARGET})

    def reader(self, real: RealImages) -> Reader:
        from atelier.metrics.pairs import PairReader, psnr

        return PairReader(psnr, border=True)

    def __call__(self, view: View) -> Results:
        from atelier.metrics.pairs import mean, median, results

        how = "all channels of an image, peak 255; equals count as one level off in one value"
        return results(view, {MEAN: mean, MEDIAN: median}, how)
