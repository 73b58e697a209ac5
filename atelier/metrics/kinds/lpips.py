"""LPIPS (Zhang et al. 2018) of generated images and their targets, with the published weights; beside it that of inputs."""

from __future__ import annotations

from atelier.config.metrics import Need, Value, with_inputs
from atelier.metrics.identity import MetricError
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View

DISTANCE = Value("lpips", "LPIPS", higher_is_better=False, decides=True)


class LPIPS(Metric):
    title = "LPIPS in AlexNet, fetched once, needs targets"
    values = with_inputs(DISTANCE)
    needs = frozenset({Need.TARGET})

    def reader(self, real: RealImages) -> Reader:
        from atelier.metrics.pairs import PairReader
        from atelier.metrics.perceptual import SMALLEST, load_lpips, of_pairs

        if real.dataset.resolution < SMALLEST:
            raise MetricError(
                f"evaluate.metrics: lpips sees images of at least {SMALLEST} px and {real.dataset.folder} has "
                f"{real.dataset.resolution} px; take perceptual, or {self.removal}"
            )
        return PairReader(of_pairs(load_lpips()))

    def __call__(self, view: View) -> Results:
        from atelier.metrics.pairs import mean, results
        from atelier.metrics.perceptual import ALEXNET_SHA256, HEADS_SHA256

        identity = {"extractor": "alexnet, 5 layers", "weights": f"{ALEXNET_SHA256}, {HEADS_SHA256}", "resize": "none"}
        return results(view, {DISTANCE: mean}, "lin, version 0.1", **identity)
