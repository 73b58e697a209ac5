"""The perceptual path length (Karras et al. 2019, section 4.1), with the extractor in the place of LPIPS."""

from __future__ import annotations

from atelier.config.metrics import Need, Value
from atelier.metrics.identity import MetricError
from atelier.metrics.metric import Metric, Results, View

LENGTH = Value("path_length", "Perceptual path length", higher_is_better=False, in_space="path_length")


class PathLength(Metric):
    title = "perceptual path length"
    values = (LENGTH,)
    needs = frozenset({Need.EXTRACTOR, Need.MODEL})

    def __call__(self, view: View) -> Results:
        from atelier.metrics.path_length import EPSILON, path_length
        from atelier.networks.base import LatentGenerator

        model = view.model
        if not isinstance(model, LatentGenerator):
            raise MetricError(f"{view.option}: path_length needs a generator with a latent space; {self.removal}")
        value, error = path_length(model, view.extractor.of_floats, view.count, view.seed, view.batch)
        how = f"squared distance of features, slerp, epsilon {EPSILON:g}, 1st to 99th percentile"
        sampling = "pairs of latents, classes equally likely; truncation 1"
        return Results([view.measurement(LENGTH, value, error, how, sampling=sampling)])
