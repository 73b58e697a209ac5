"""What a pretrained network sees differ between generated images and their targets, place by place; beside it that of inputs."""

from __future__ import annotations

from atelier.config.metrics import Need, Value, with_inputs
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View

NETWORK = "efficientnet_lite0"  # whose weights come with a package
DISTANCE = Value("perceptual", "Perceptual distance to the target", higher_is_better=False, in_space="perceptual", decides=True)


class Perceptual(Metric):
    title = "perceptual distance in efficientnet_lite0, needs targets"
    values = with_inputs(DISTANCE)
    needs = frozenset({Need.TARGET})

    def reader(self, real: RealImages) -> Reader:
        from atelier.extractors.perceptual import distance, load_perception
        from atelier.metrics.pairs import PairReader
        from atelier.metrics.perceptual import of_pairs

        perceive = load_perception(NETWORK, "packaged", "evaluate.metrics: perceptual")
        return PairReader(of_pairs(lambda one, other: distance(perceive(one), perceive(other))))

    def __call__(self, view: View) -> Results:
        from atelier.extractors.lite0 import LITE0_SHA256
        from atelier.metrics.pairs import mean, results

        identity = {"extractor": f"{NETWORK}, 5 layers", "weights": LITE0_SHA256, "resize": "as for its features"}
        return results(view, {DISTANCE: mean}, "unit length at each place, layers alike", NETWORK, **identity)
