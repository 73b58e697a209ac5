"""Measures a set of generated images against a packed dataset, and keeps the numbers with their identities."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import FiniteFloat, TypeAdapter, ValidationError

from atelier.config.evaluation import EvaluateSettings
from atelier.config.metrics import COMPARED, EXTRACTED, Need
from atelier.config.section import first_problem
from atelier.data.manifest import SPLITS
from atelier.data.packed import PackedDataset
from atelier.extractors import load_extractor
from atelier.extractors.base import Extractor
from atelier.io.files import atomic_write, canonical_json, read_json
from atelier.io.progress import bar
from atelier.metrics.feature_stream import FeatureStream
from atelier.metrics.identity import Measurement, MetricError
from atelier.metrics.metric import (
    Classes,
    Pictures,
    Reader,
    RealImages,
    Results,
    View,
    check_counts,
    check_needs,
    chosen,
    measure,
    needs_of,
    uses_of,
)  # fmt: skip
from atelier.metrics.pairs import as_large, times_larger
from atelier.metrics.reference import Reference, load_reference
from atelier.networks.base import Generator
from atelier.tasks.sampling import Sample, Sampler, Sampling, SeededSampler
from atelier.tasks.told import optional
from atelier.training.distributed import Ranks
from atelier.training.judge import Judge
from atelier.training.memory import naming_remedy, of_a_measurement

SAMPLING = SeededSampler.identity  # of images that come from elsewhere, too
OPTION = "evaluate.metrics"
GIVEN = (Need.TARGET, Need.PICTURE, Need.STYLE, Need.MAP)  # what samples may have beside their images
OF_GENERATED = frozenset(
    {Need.CLASSES, *GIVEN, Need.PICTURE_FEATURES, Need.TOLD, Need.MODEL}
)  # needs that real images cannot meet


@dataclass(frozen=True)
class Evaluation(Results):
    """All numbers of one set of generated images.

    `features` float32 [n, dim] are those of all images, None where no metric needed them; `generator` is the sha256 of the
    generator's weights, "" where no file held them.
    """

    features: np.ndarray | None = None
    generator: str = ""

    def __getitem__(self, name: str) -> Measurement:
        """The measurement called `name`. Raises MetricError naming those there are."""
        for measurement in self.measurements:
            if measurement.name == name:
                return measurement
        raise MetricError(f"{name} was not measured; there are {', '.join(m.name for m in self.measurements)}")

    @property
    def flat(self) -> dict[str, float]:
        """Values by name, as DVC, KFP and MLflow take them."""
        return {m.name: m.value for m in self.measurements} | {f"{name}_std": value for name, value in self.spread.items()}

    def write(self, path: Path) -> None:
        """Writes the metrics JSON atomically: flat values, "identity" by name, "measurements" and the other fields."""
        values: dict[str, Any] = dict(self.flat)
        values["identity"] = {m.name: m.to_dict()["identity"] for m in self.measurements}
        values["measurements"] = [m.to_dict() for m in self.measurements]
        values["class_shares"], values["class_distances"] = self.class_shares, self.class_distances
        values["spread"] = self.spread
        values["generator"] = self.generator
        atomic_write(path, canonical_json(values))


def read_evaluation(path: Path) -> Evaluation:
    """Evaluation of a metrics JSON, without features. Raises MetricError for a missing file or one of another form."""
    try:
        values = read_json(Path(path))
        measurements = [Measurement.from_dict(item) for item in values["measurements"]]
        by_name = TypeAdapter(dict[str, FiniteFloat]).validate_python
        by_class = by_name(values["class_shares"]), by_name(values["class_distances"])
        generator = TypeAdapter(str).validate_python(values["generator"])
        return Evaluation(measurements, *by_class, by_name(values["spread"]), generator=generator)
    except ValidationError as error:
        raise MetricError(
            f"{path}: not the metrics of this version of Atelier ({first_problem(error)}); evaluate again"
        ) from error
    except OSError as error:
        raise MetricError(f"{path}: metrics cannot be read ({error.strerror}); run the evaluation first") from error
    except (ValueError, KeyError, TypeError, MetricError) as error:
        raise MetricError(f"{path}: not the metrics of this version of Atelier ({error}); evaluate again") from error


class Evaluator:
    """Holds everything about the real images, loaded once; call it with generators or with images as often as needed.

    `given` is the set whose records the generators are given, where that is not the `dataset` itself. With `keep` the features of
    the real images are kept even where no metric needs them, for pictures of the nearest, and for what stands beside a distance:
    that of real images in the same numbers (atelier.metrics.bias), of images trained on, and of inputs as they were given.
    Raises MetricError where the settings ask for what cannot be measured (weights, labels, too few images).
    """

    def __init__(
        self, dataset: PackedDataset, settings: EvaluateSettings, cache: Path,
        device: torch.device | str = "cpu", keep: bool = False, progress: bool = True, ranks: Ranks | None = None,
        given: PackedDataset | None = None,
    ) -> None:  # fmt: skip
        self.dataset, self.given, self.settings, self.cache = dataset, given or dataset, settings, cache
        self.ranks, self.device = ranks or Ranks(), torch.device(device)
        self.progress = progress and self.ranks.first
        self.metrics = chosen(settings.metrics)
        self.extractor: Extractor | None = None
        self.reference: Reference | None = None
        self.readers: dict[str, Reader] = {}
        self._held_out: Reference | None = None
        self._training: Reference | None = None
        self._memory: dict[Any, Any] = {}
        self._bias = keep
        looked_at = needs_of(self.metrics) | (uses_of(self.metrics) if keep else set())
        self._extracts = bool(needs_of(self.metrics) & EXTRACTED)
        self._of_pictures = Need.PICTURE_FEATURES in looked_at and self.given.resolution == self.dataset.resolution
        self._of_training = bool(looked_at & {Need.TRAINING, Need.HELD_OUT}) and self.dataset.split == "test"
        if not self.ranks.first:
            self.ranks.any(False, self.device)  # the first rank has filled the cache
        self._load(keep)
        if self.ranks.first:
            self.ranks.any(False, self.device)

    def _load(self, keep: bool) -> None:
        dataset, settings, needs = self.dataset, self.settings, needs_of(self.metrics)
        check_counts(self.metrics, settings.samples, len(dataset), OPTION)
        if needs & {*EXTRACTED, Need.EXTRACTOR}:
            size = (dataset.resolution, dataset.resolution)
            self.extractor = load_extractor(settings.extractor, settings.weights, size, self.device, settings.layer)
        check_needs(self.metrics, self._met() | OF_GENERATED, f"{dataset.folder}: {OPTION}")
        if self.extractor and needs & COMPARED:
            keep = keep or bool(needs & {Need.REAL_FEATURES, Need.HELD_OUT})
            self.reference = self._reference(self.extractor, dataset, keep)
        if self.extractor and Need.HELD_OUT in needs:
            self._held_out = self.reference if dataset.split == "test" else self._reference(self.extractor, self._test)
        if self.extractor and self._of_training:
            self._training = self._reference(self.extractor, self._train)
        real = RealImages(dataset, self.cache, settings.seed, self.progress)
        readers = ((metric.name, metric.reader(real)) for metric in self.metrics)
        self.readers = {name: reader for name, reader in readers if reader}

    def _met(self) -> frozenset[Need]:
        """The needs that these real images and this extractor meet."""
        met = {Need.LABELS} if len(self.dataset.classes) > 1 else set()
        if self.dataset.split in SPLITS and all(self.dataset.manifest.splits[part].count for part in SPLITS):
            met.add(Need.HELD_OUT)
        if self.extractor:
            met |= {Need.EXTRACTOR, Need.FEATURES, Need.REAL_FEATURES} | ({Need.LOGITS} if self.extractor.head else set())
        return frozenset(met)

    @cached_property
    def _train(self) -> PackedDataset:
        return self.dataset if self.dataset.split == "train" else PackedDataset(self.dataset.folder, "train")

    @cached_property
    def _test(self) -> PackedDataset:
        return PackedDataset(self.dataset.folder, "test")

    def _reference(self, extractor: Extractor, images: PackedDataset, keep: bool = True) -> Reference:
        return load_reference(images, extractor, self.cache, self.settings.seed, keep, self.progress)

    def sampler(self, generator: Generator, classes: Sequence[str], sampling: Sampling = SeededSampler) -> Sampler:
        """The images of a generator that are measured; `classes` are its classes' names, in order."""
        return sampling(generator, classes, self.dataset, self.given, self.settings.samples, self.settings.seed)

    def measure(
        self, generator: Generator, classes: Sequence[str], sampling: Sampling = SeededSampler, judge: Judge | None = None
    ) -> Evaluation:
        """Measures the images of a generator, and the generator itself where a metric needs it; the rest as in `sampler`.

        `judge` is the discriminator that was trained with it, where there is one.
        The ranks share the images and their features; each gets all numbers, equal to the bit to those of one process. Raises
        MetricError for a metric that needs what there is not.
        """
        samples, batch = self.settings.samples, self.settings.batch
        counts = [min(batch, samples - start) for start in range(0, samples, batch)]
        sampler = self.sampler(generator, classes, sampling)
        colored = sampler.palette is not None
        there = (sampler.has_target, sampler.has_input and not colored, sampler.has_style, colored)
        given = self._met_by(sampler.classes, generator, [need for need, has in zip(GIVEN, there, strict=True) if has])
        if judge and self._held_out and list(classes) in ([], list(self.dataset.classes)):  # it knows labels by its own numbers
            given[Need.DISCRIMINATOR] = partial(self._judged, judge)
        with naming_remedy(lambda: of_a_measurement(batch)):
            own = (self._columns(one, given) for one in sampler(batch, (self.ranks.rank, self.ranks.world)))
            return self._evaluation(self.ranks.in_turn(own, counts, self._width(given), self.device), given, sampler.identity)

    def __call__(self, samples: Iterable[Sample], classes: Sequence[str] = (), having: Collection[Need] = ()) -> Evaluation:
        """Measures `settings.samples` images that come in batches; `classes` names the class of each.

        `having` says what each batch has beside its images: TARGET, PICTURE, STYLE or MAP. Values depend on the images and their
        order, not on how they were cut into batches. Raises MetricError for images of another shape or number than the settings
        and the dataset say, and for a metric that needs what is not given.
        """
        given = self._met_by(classes, None, having)
        return self._evaluation((self._columns(one, given) for one in samples), given, SAMPLING)

    def _judged(self, judge: Judge, training: bool, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images = self._train if training else self._test
        return judge(images, rows), images.labels[rows]

    def _columns(self, sample: Sample, given: dict[Need, Any]) -> np.ndarray:
        """Features of the images, those of the pictures that they were made from and how many times these were enlarged, and the
        columns of each reader side by side.

        float32 [n, width].
        """
        shape, images = (self.dataset.channels, self.dataset.resolution, self.dataset.resolution), sample.images
        if images.dtype != np.uint8 or images.shape[1:] != shape:
            raise MetricError(f"images are {images.dtype} {images.shape[1:]} but {self.dataset.folder} holds uint8 {shape}")
        columns = [np.empty((len(images), 0))]
        if self.extractor and self._extracts:
            columns.append(self.extractor.features(images))
            if Need.PICTURE_FEATURES in given:
                assert sample.input is not None
                factor = times_larger(images, sample.input)
                columns.append(self.extractor.features(as_large(sample.input, factor)))
                columns.append(np.full((len(images), 1), factor))
        pictures = sample if Need.MAP not in given else sample._replace(input=None)
        seen = {metric.name: sample if Need.MAP in metric.needs else pictures for metric in self.metrics}
        columns += [reader.read(seen[name]) for name, reader in self.readers.items()]
        return np.concatenate(columns, axis=1, dtype=np.float32)

    def _width(self, given: dict[Need, Any]) -> int:
        """Columns of what `_columns` returns."""
        pictures = self._dim() + 1 if Need.PICTURE_FEATURES in given else 0
        return self._dim() + pictures + sum(reader.width for reader in self.readers.values())

    def _dim(self) -> int:
        return self.extractor.dim if self.extractor and self._extracts else 0

    def _met_by(self, names: Sequence[str], model: Generator | None, having: Collection[Need]) -> dict[Need, Any]:
        """The needs that the generated images meet. Raises MetricError where that is not enough."""
        known = self.dataset.classes
        classes = None
        if names and set(names) <= set(known):
            labels = self.dataset.labels[self.reference.indices] if self.reference else self.dataset.labels
            held_out = self._test.labels[self._held_out.indices] if self._held_out else None
            trained = self._train.labels[self._training.indices] if self._training else None
            classes = Classes(known, np.array([known.index(name) for name in names]), labels, held_out, trained)
        parts: dict[Need, Any] = {Need.CLASSES: classes, Need.MODEL: model, **dict.fromkeys(having, True)}
        if model is not None and optional(model.takes):
            parts[Need.TOLD] = self.given
        if Need.PICTURE in having and self._of_pictures and self.extractor:
            parts[Need.PICTURE_FEATURES] = True  # the features themselves come with the images
        given = {need: part for need, part in parts.items() if part is not None}
        check_needs(self.metrics, self._met() | given.keys(), OPTION)
        return given

    def _evaluation(self, rows: Iterable[np.ndarray], given: dict[Need, Any], sampling: str) -> Evaluation:
        settings, dim = self.settings, self._dim()
        stream = FeatureStream(dim, settings.samples, True, self.cache) if dim else None
        columns: list[np.ndarray] = []
        count = 0
        with bar("measuring", settings.samples, self.progress) as progress:
            for part in rows:
                if count + len(part) > settings.samples:
                    raise MetricError(f"more than evaluate.samples = {settings.samples} images were generated; generate as many")
                if stream:
                    stream.update(part[:, :dim])
                columns.append(part[:, dim:])
                count += len(part)
                progress.update(len(part))
        if count != settings.samples:
            raise MetricError(f"{count} images were generated but evaluate.samples is {settings.samples}; generate as many")
        read = np.concatenate(columns)
        if Need.PICTURE_FEATURES in given:
            pictures = Pictures(read[:, :dim], int(read[0, dim]))
            given, read = {**given, Need.PICTURE_FEATURES: pictures}, read[:, dim + 1 :]
        parts = {
            Need.EXTRACTOR: self.extractor,
            Need.FEATURES: stream,
            Need.REAL_FEATURES: self.reference,
            Need.LOGITS: self.extractor and self.extractor.head,
            Need.LABELS: self.dataset.classes,
            Need.HELD_OUT: self._held_out,
            Need.TRAINING: self._training,
        }
        real = f"{self.dataset.content_hash}:{self.dataset.split}"
        view = View(count, settings.seed, sampling, real, parts | given, OPTION, self._bias, settings.batch, memory=self._memory)
        results = measure(self.metrics, view, self.readers, read)
        return Evaluation(**vars(results), features=stream.features if stream else None)
