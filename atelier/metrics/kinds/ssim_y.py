"""The structural similarity of luma, which tables of super-resolution have; beside it that of the inputs, enlarged by bicubic."""

from __future__ import annotations

from atelier.config.metrics import Need, Value, with_inputs
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View

SIMILARITY = Value("ssim_y", "Structural similarity (SSIM) of luma to the target", higher_is_better=True, form="share")


class SsimY(Metric):
    title = "structural similarity (SSIM) of luma, needs targets and pictures as inputs"
    values = with_inputs(SIMILARITY)
    needs = frozenset({Need.TARGET, Need.PICTURE})

    def reader(self, real: RealImages) -> Reader:
        from atelier.metrics.pairs import WINDOW, PairReader, of_luma, ssim

        return PairReader(of_luma(ssim), border=True, least=WINDOW)

    def __call__(self, view: View) -> Results:
        from atelier.metrics.pairs import mean, results

        how = (
            "luma from 16 to 235 of colors, not rounded, range 255; Gaussian window of 11 px, deviation 1.5, where it lies inside"
        )
        return results(view, {SIMILARITY: mean}, how)
