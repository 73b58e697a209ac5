"""The PSNR of luma, which tables of super-resolution have; beside it that of the inputs, enlarged by bicubic."""

from __future__ import annotations

from atelier.config.metrics import Need, Value, with_inputs
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View

MEAN = Value("psnr_y", "PSNR of luma in decibels, mean", higher_is_better=True)
MEDIAN = Value("psnr_y_median", "PSNR of luma in decibels, median", higher_is_better=True)


class PsnrY(Metric):
    title = "PSNR of luma, as in tables of super-resolution, needs targets and pictures as inputs"
    values = with_inputs(MEAN, MEDIAN)
    needs = frozenset({Need.TARGET, Need.PICTURE})

    def reader(self, real: RealImages) -> Reader:
        from atelier.metrics.pairs import PairReader, of_luma, psnr

        return PairReader(of_luma(psnr), border=True)

    def __call__(self, view: View) -> Results:
        from atelier.metrics.pairs import mean, median, results

        return results(view, {MEAN: mean, MEDIAN: median}, "luma from 16 to 235 of colors, not rounded, peak 255")
