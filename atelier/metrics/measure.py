"""The numbers that come from features: from what an extractor saw in two sets of images to values with their identities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from atelier.extractors import Extractor
from atelier.metrics.bias import beside, real_distance
from atelier.metrics.coverage import NEIGHBOURS, RARE, memorised, prdc
from atelier.metrics.extrapolation import frechet_infinity
from atelier.metrics.frechet import frechet_estimate
from atelier.metrics.identity import Identity, Measurement, MetricError
from atelier.metrics.inception_score import SPLITS, class_score, logits
from atelier.metrics.kernel import SUBSETS, kernel_distance, kernel_standard_error, subset_size
from atelier.metrics.per_class import per_class, worst
from atelier.metrics.reference import Reference, reference_indices
from atelier.metrics.seen import Seen

OF_FEATURES = ("frechet", "kernel", "frechet_infinity", "per_class", "prdc", "memorised", "inception_score")
OF_REAL_FEATURES = ("kernel", "per_class", "prdc", "memorised")  # those that moments of the real images are not enough for

OF_BOTH, OF_GENERATED = {"prdc": NEIGHBOURS + 1}, {"frechet_infinity": 4, "inception_score": 2 * SPLITS}  # images that they need


def check_counts(metrics: Sequence[str], generated: int, reference: int, option: str) -> None:
    """Raises MetricError for a metric that so few images cannot tell; `option` is what names the metrics to the user."""
    counts = f"there are {generated} generated and {reference} reference images"
    for metric in metrics:
        for needs, found, where in ((OF_BOTH, min(generated, reference), "in each set"), (OF_GENERATED, generated, "generated")):
            if found < needs.get(metric, 0):
                remedy = f"add images, or take {metric} out"
                raise MetricError(f"{option}: {metric} needs at least {needs[metric]} images {where}, and {counts}; {remedy}")


@dataclass(frozen=True)
class Classes:
    """Class of each generated image and of each reference image, int64 [N] and [M] into `names`."""

    names: Sequence[str]
    generated: np.ndarray
    reference: np.ndarray


@dataclass(frozen=True)
class Found:
    """Measurements; `spread`, the deviation of a value over its subsets or splits, by name; `by_class`, the distance of each."""

    measurements: list[Measurement]
    spread: dict[str, float]
    by_class: dict[str, float]


@dataclass(frozen=True)
class Measuring:
    """How features are measured: `metrics` as in params.yaml, `seed`, and `sampling`, where the generated images come from.

    `option` is what names the metrics to the user. With `bias`, what the Fréchet distance of real images in the same numbers
    would be stands beside it where a set has fewer images than features; the reference's features have to be kept for that.
    """

    extractor: Extractor
    reference: Reference
    metrics: Sequence[str]
    seed: int
    sampling: str
    option: str = "evaluate.metrics"
    bias: bool = False
    _real: dict[int, float | None] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, seen: Seen, held_out: Reference | None = None, classes: Classes | None = None) -> Found:
        """Measures what was seen. `held_out` is what memorised compares with, `classes` what per_class needs."""
        found, spread, by_class = list[Measurement](), dict[str, float](), dict[str, float]()
        for metric in OF_FEATURES:
            if metric not in self.metrics:
                continue
            if metric == "frechet":
                value, error = frechet_estimate(seen.features, seen.moments, self.reference.moments)
                found.append(self._distance(seen, self.title("fid", "frechet"), value, error, "ddof 1"))
                if self.bias and min(seen.count, self.reference.count) < self.extractor.dim:
                    found += self._of_real(seen.count, found[-1])
            elif metric == "kernel":
                one, deviation = self._kernel(seen)
                found.append(one)
                spread[one.name] = deviation
            elif metric == "frechet_infinity":
                value, error = frechet_infinity(seen.features, self.reference.moments, self.seed)
                name = self.title("extrapolated_fid", "extrapolated_frechet")
                found.append(self._distance(seen, name, value, error, "ddof 1, 2 d(N) - d(N / 2), halves drawn with the seed"))
            elif metric == "per_class":
                one, by_class = self._worst_class(seen, classes)
                found.append(one)
            elif metric == "prdc":
                found += self._among(seen)
            elif metric == "memorised":
                found.append(self._memorised(seen, held_out))
            elif metric == "inception_score":
                one, deviation = self._score(seen)
                found.append(one)
                spread[one.name] = deviation
        return Found(found, spread, by_class)

    def title(self, of_fid: str, other: str) -> str:
        """The name of a number: `of_fid` only for the network and weights that FID is defined with."""
        return of_fid if self.extractor.is_fid else f"{other}_{self.extractor.name}"

    def identity(self, name: str, parameters: str, samples: int, reference_count: int | None = None) -> Identity:
        """Everything that moves the number `name`."""
        return Identity(
            metric=name,
            extractor=f"{self.extractor.name}, {self.extractor.dim} features",
            weights=self.extractor.weights_hash,
            resize=self.extractor.resize,
            samples=samples,
            sampling=self.sampling,
            reference=self.reference.images,
            reference_count=self.reference.count if reference_count is None else reference_count,
            seed=self.seed,
            parameters=parameters,
        )

    def _distance(self, seen: Seen, name: str, value: float, error: float | None, parameters: str) -> Measurement:
        return Measurement(value, error, self.identity(name, parameters, seen.count), higher_is_better=False)

    def _of_real(self, count: int, distance: Measurement) -> list[Measurement]:
        """What the distance would be for as many real images; [] where there are too few to tell."""
        if count not in self._real:
            self._real[count] = real_distance(self.reference.features, count, self.seed)
        value = self._real[count]
        return [] if value is None else [beside(distance, value)]

    def _kernel(self, seen: Seen) -> tuple[Measurement, float]:
        features, real = seen.features, self.reference.features
        value, deviation = kernel_distance(features, real, seed=self.seed)
        error = kernel_standard_error(features, real, self.seed)
        how = f"cubic polynomial, unbiased, {SUBSETS} subsets of {subset_size(seen.count, self.reference.count)}"
        return self._distance(seen, self.title("kid", "kernel"), value, error, how), deviation

    def _worst_class(self, seen: Seen, classes: Classes | None) -> tuple[Measurement, dict[str, float]]:
        if classes is None or not classes.names:
            raise MetricError(
                f"{self.option}: per_class needs images of the same labelled classes on both sides; take it out, or "
                "train with model.conditional: true"
            )
        found = per_class(seen.features, classes.generated, self.reference.features, classes.reference, classes.names)
        name, value = worst(found)
        title = self.title("worst_class_fid", "worst_class_frechet")
        one = self._distance(seen, title, value, found[name][1], f"ddof 1, largest of {len(found)} classes")
        return one, {name: value for name, (value, _) in found.items()}

    def _among(self, seen: Seen) -> list[Measurement]:
        drawn = reference_indices(self.reference.count, self.seed, cap=seen.count)
        shares = asdict(prdc(self.reference.features[drawn], seen.features))
        return [
            Measurement(value, error, self.identity(name, f"{NEIGHBOURS} neighbours", seen.count, len(drawn)), True)
            for name, (value, error) in shares.items()
        ]

    def _memorised(self, seen: Seen, held_out: Reference | None) -> Measurement:
        if held_out is None:
            raise MetricError(f"{self.option}: memorised compares with held-out real images, and there are none; take it out")
        value, error = memorised(seen.features, self.reference.features, held_out.features)
        how = f"nearer than {1 - RARE:.0%} of {held_out.count} images of the test split"
        return Measurement(value, error, self.identity("memorised", how, seen.count), higher_is_better=False)

    def _score(self, seen: Seen) -> tuple[Measurement, float]:
        if self.extractor.head is None:
            raise MetricError(
                f"{self.option}: inception_score needs a network with classes, and {self.extractor.name} has none at layer "
                f"{self.extractor.layer}; choose inception (layer default) or efficientnet_lite0"
            )
        value, deviation, error = class_score(logits(seen.features, self.extractor.head), seed=self.seed)
        name = self.title("inception_score", "class_score")
        identity = replace(self.identity(name, f"{SPLITS} splits", seen.count, reference_count=0), reference="none")
        return Measurement(value, error, identity, higher_is_better=True), deviation
