"""The interface of a metric: the view it is given and the results it returns.

A new metric is a file in atelier/metrics/kinds/ with a subclass of Metric, and its name among `evaluate.metrics`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from atelier.config.metrics import COMPARED, EXTRACTED, PAIRED, Declaration, Need, Value, metrics
from atelier.metrics.identity import Identity, Measurement, MetricError

if TYPE_CHECKING:  # which load PyTorch
    from torch import nn

    from atelier.data.packed import PackedDataset
    from atelier.extractors.base import Extractor
    from atelier.metrics.frechet import Moments
    from atelier.metrics.reference import Reference
    from atelier.metrics.told import ToldImages
    from atelier.networks.base import Generator
    from atelier.tasks.sampling import Sample

NONE = "none"
Judged = Callable[[bool, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""The discriminator's logits float [n] of training images (True) or held-out ones, by their rows int64 [n], and their labels."""


@dataclass(frozen=True)
class Classes:
    """Class of each generated image and of each reference image, int64 [N] and [M] into `names`.

    `held_out` int64 [H] are those of held-out images, where HELD_OUT is needed, and `trained` int64 [T] those of images that were
    trained on, where others are the reference.
    """

    names: Sequence[str]
    generated: np.ndarray
    reference: np.ndarray
    held_out: np.ndarray | None = None
    trained: np.ndarray | None = None


@dataclass(frozen=True)
class Pictures:
    """Features float32 [N, d] of the pictures that images were made from, enlarged by this factor to the images' size."""

    features: np.ndarray
    enlarged: int


@dataclass(frozen=True)
class Results:
    """The results of metrics: measurements, and beside them what plots need.

    `class_shares` is the share of each class among the generated images by name, `class_distances` the distance within each;
    `spread` is the standard deviation of a value over its subsets or splits, by name. `of_each` float32 [N] are the values of
    single images, by the name of their mean.
    """

    measurements: list[Measurement]
    class_shares: dict[str, float] = field(default_factory=dict)
    class_distances: dict[str, float] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)
    of_each: dict[str, np.ndarray] = field(default_factory=dict)

    def of_kind(self, kind: str) -> Measurement | None:
        """The first measurement of this kind, None where there is none."""
        return next((one for one in self.measurements if one.kind == kind), None)


@dataclass(frozen=True)
class RealImages:
    """The packed real images, with a folder for what is worth keeping and the seed: a reader is made from them."""

    dataset: PackedDataset
    cache: Path
    seed: int
    progress: bool


class Reader(Protocol):
    """Reads each generated image by itself, so that a metric of single images needs no memory for them."""

    @property
    def width(self) -> int:
        """Columns of what it returns."""

    def read(self, sample: Sample) -> np.ndarray:
        """float32 [n, width] of n images, which come with targets or inputs where the metric needs them."""


class Metric(Declaration, ABC):
    """Computes numbers from a view; the class attributes declare what it gives and needs."""

    def reader(self, real: RealImages) -> Reader | None:
        """A reader that fills `View.columns`; None where features or the model are enough."""
        return None

    @abstractmethod
    def __call__(self, view: View) -> Results:
        """Its measurements, each made by `view.measurement`. Raises MetricError."""


@dataclass(frozen=True)
class View:
    """`count` generated images, N below, beside real ones, M below.

    `option` is what names the metrics to the user; `seed` is for whatever is drawn; `sampling` says where the generated images
    come from, and `real` is content hash and split of the real ones. `parts` holds what needs are met with; a property whose
    need is not met raises MetricError. With `bias`, the Fréchet distance of real images in the same numbers stands beside one of
    few images. `batch` is the number of images that a model generates at once.
    """

    count: int
    seed: int
    sampling: str
    real: str
    parts: Mapping[Need, Any]
    option: str = "evaluate.metrics"
    bias: bool = False
    batch: int = 64
    metric: Metric | None = None
    reader: Any = None
    read: np.ndarray | None = None
    memory: dict[Any, Any] = field(default_factory=dict)

    @property
    def extractor(self) -> Extractor:
        """The network whose features are compared."""
        return cast("Extractor", self._part(Need.EXTRACTOR))

    @property
    def features(self) -> np.ndarray:
        """float32 [N, d] of the generated images."""
        return cast(np.ndarray, self._part(Need.FEATURES).features)

    @property
    def moments(self) -> Moments:
        """Moments of the features of the generated images."""
        return cast("Moments", self._part(Need.FEATURES).moments)

    @property
    def reference(self) -> Reference:
        """Moments of the real images; their features [M, d] too where REAL_FEATURES is needed."""
        return cast("Reference", self._part(Need.REAL_FEATURES))

    @property
    def held_out(self) -> Reference:
        """Features of real images that nothing was trained on."""
        return cast("Reference", self._part(Need.HELD_OUT))

    @property
    def logits(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The extractor's last layer, from features to classes: weight [K, d], and bias [K] or None."""
        return cast("tuple[np.ndarray, np.ndarray | None]", self._part(Need.LOGITS))

    @property
    def pictures(self) -> np.ndarray | None:
        """float32 [N, d] of the pictures that the generated images were made from, where PICTURE_FEATURES is needed or used."""
        return self._pictures.features if self._pictures else None

    @property
    def enlarged(self) -> int:
        """How many times these pictures were enlarged before, 1 for not at all."""
        return self._pictures.enlarged if self._pictures else 1

    @property
    def _pictures(self) -> Pictures | None:
        return cast("Pictures | None", self.parts.get(Need.PICTURE_FEATURES))

    @property
    def training(self) -> Reference | None:
        """Features of real images that were trained on, where TRAINING is used and others are the reference."""
        return cast("Reference | None", self.parts.get(Need.TRAINING))

    @property
    def trained(self) -> Reference:
        """Features of real images that were trained on, where HELD_OUT is needed; those of `held_out` may be the reference."""
        return self.reference if self.training is None else self.training

    @property
    def classes(self) -> Classes:
        """The class of each image on both sides."""
        return cast(Classes, self._part(Need.CLASSES))

    @property
    def labels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """The classes of generated, `trained` and held-out images, where CLASSES is used beside HELD_OUT and known."""
        found = cast("Classes | None", self.parts.get(Need.CLASSES))
        if found is None or found.held_out is None:
            return None
        return found.generated, found.reference if found.trained is None else found.trained, found.held_out

    @property
    def judge(self) -> Judged | None:
        """The discriminator's logits of real images, where DISCRIMINATOR is used and there is one."""
        return cast("Judged | None", self.parts.get(Need.DISCRIMINATOR))

    @property
    def model(self) -> nn.Module:
        """The generator."""
        return cast("nn.Module", self._part(Need.MODEL))

    @property
    def told(self) -> ToldImages:
        """Images of text alone, of sound alone and of pairs that disagree, where the generator takes such."""
        from atelier.metrics.told import ToldImages

        records = cast("PackedDataset", self._part(Need.TOLD))
        return ToldImages(cast("Generator", self.model), records, self.count, self.seed, self.batch)

    @property
    def columns(self) -> np.ndarray:
        """float32 [N, width] of what the metric's reader has read."""
        assert self.read is not None, "the metric has no reader"
        return self.read

    def once(self, key: str, compute: Callable[[], Any]) -> Any:
        """A result that follows from the real images and N alone, computed once for all generators that are measured."""
        known = (key, self.count)
        if known not in self.memory:
            self.memory[known] = compute()
        return self.memory[known]

    def measurement(self, value: Value, number: float, error: float | None, parameters: str, **identity: Any) -> Measurement:
        """`number` as a measurement, with its standard error.

        The identity follows from what the metric needs; `identity` holds the parts that are otherwise.
        """
        needs = self.metric.needs if self.metric else frozenset()
        extractor = self.extractor if needs & {*EXTRACTED, Need.EXTRACTOR} else None
        compared = self.reference.count if needs & COMPARED else self.count if needs & PAIRED else 0
        whole = {
            "metric": value.name(extractor.name if extractor else NONE, bool(extractor and extractor.is_fid)),
            "extractor": f"{extractor.name}, {extractor.dim} features" if extractor else NONE,
            "weights": extractor.weights_hash if extractor else NONE,
            "resize": extractor.resize if extractor else NONE,
            "samples": self.count,
            "sampling": self.sampling,
            "reference": self.real if compared else NONE,
            "reference_count": compared,
            "seed": self.seed,
            "parameters": parameters,
            "kind": value.kind,
        }
        return Measurement(number, error, Identity(**{**whole, **identity}), value.higher_is_better)

    def _part(self, need: Need) -> Any:
        if self.parts.get(need) is None:
            what = self.metric.refusal(need) if self.metric else f"there is no {need.what}"
            raise MetricError(f"{self.option}: {what}")
        return self.parts[need]


def chosen(names: Sequence[str]) -> list[Metric]:
    """The metrics of these names, in that order."""
    return [cast(Metric, metrics()[name]) for name in names]


def needs_of(chosen: Sequence[Metric]) -> frozenset[Need]:
    """The needs of these metrics together."""
    return frozenset().union(*(metric.needs for metric in chosen))


def uses_of(chosen: Sequence[Metric]) -> frozenset[Need]:
    """What these metrics together look at where there is such."""
    return frozenset().union(*(metric.uses for metric in chosen))


def check_counts(chosen: Sequence[Metric], generated: int, reference: int, option: str) -> None:
    """Raises MetricError for a metric that needs more images than there are; `option` is what names the metrics to the user."""
    counts = f"there are {generated} generated and {reference} reference images"
    for metric in chosen:
        for fewest, known, where in (
            (metric.fewest, min(generated, reference), "in each set"),
            (metric.fewest_generated, generated, "generated"),
        ):
            if known < fewest:
                remedy = f"add images, or take {metric.name} out"
                raise MetricError(f"{option}: {metric.name} needs at least {fewest} images {where}, and {counts}; {remedy}")


def check_needs(chosen: Sequence[Metric], met: frozenset[Need], option: str) -> None:
    """Raises MetricError for a metric with a need that is not among those `met`."""
    for metric in chosen:
        for need in Need:
            if need in metric.needs and need not in met:
                raise MetricError(f"{option}: {metric.refusal(need)}")


def measure(chosen: Sequence[Metric], view: View, readers: Mapping[str, Reader], columns: np.ndarray) -> Results:
    """The results of these metrics, in order; `columns` float32 [N, width] are those of all `readers` side by side."""
    merged, start = Results([]), 0
    for metric in chosen:
        reader = readers.get(metric.name)
        width = reader.width if reader else 0
        own = metric(replace(view, metric=metric, reader=reader, read=columns[:, start : start + width] if reader else None))
        start += width
        merged.measurements.extend(own.measurements)
        merged.class_shares.update(own.class_shares)
        merged.class_distances.update(own.class_distances)
        merged.spread.update(own.spread)
        merged.of_each.update(own.of_each)
    return merged
