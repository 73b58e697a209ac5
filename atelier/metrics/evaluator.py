"""Measures a set of generated images against a packed dataset, and keeps the numbers with their identities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import FiniteFloat, TypeAdapter, ValidationError
from torch import nn

from atelier.config.evaluation import EvaluateSettings
from atelier.config.section import first_problem
from atelier.data.packed import PackedDataset
from atelier.extractors import Extractor, load_extractor
from atelier.io.files import atomic_write, canonical_json, read_json
from atelier.io.progress import bar
from atelier.machine.memory import naming_remedy, of_a_measurement
from atelier.metrics.classifier import Classifier, load_classifier, summarise
from atelier.metrics.identity import Identity, Measurement, MetricError
from atelier.metrics.measure import OF_FEATURES, OF_REAL_FEATURES, Classes, Measuring, check_counts
from atelier.metrics.path_length import EPSILON, path_length
from atelier.metrics.readings import readings
from atelier.metrics.reference import Reference, load_reference
from atelier.metrics.seen import Seen
from atelier.models.model import draw_latents, sample
from atelier.training.distributed import Ranks

SAMPLING = "classes, where there are any, as often as among the reference images; truncation 1"


@dataclass(frozen=True)
class Evaluation:
    """All numbers of one set of generated images.

    `class_shares` is the share of each class by name, {} without the classifier; `class_distances` the Fréchet distance within
    each, {} without per_class; `spread` the standard deviation of a value over its subsets or splits, by name; `features` float32
    [n, dim] are those of all images, None where no metric needed them; `generator` is the sha256 of the weights that painted the
    images, "" where no file did.
    """

    measurements: list[Measurement]
    class_shares: dict[str, float] = field(default_factory=dict)
    class_distances: dict[str, float] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)
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
    """Everything about the real side, loaded once: call it with generators, or with images, as often as needed.

    With `keep` the features of the real images are kept even where no metric needs them, for pictures of the nearest, and for
    what stands beside a Fréchet distance of few images (atelier.metrics.bias).
    Raises MetricError where the settings ask for what cannot be measured (weights, labels, too few images).
    """

    def __init__(
        self, dataset: PackedDataset, settings: EvaluateSettings, cache: Path,
        device: torch.device | str = "cpu", keep: bool = False, progress: bool = True, ranks: Ranks | None = None,
    ) -> None:  # fmt: skip
        self.dataset, self.settings, self.cache = dataset, settings, cache
        self.ranks, self.device = ranks or Ranks(), torch.device(device)
        self.progress = progress and self.ranks.first
        self.extractor: Extractor | None = None
        self.reference: Reference | None = None
        self.held_out: Reference | None = None
        self.classifier: Classifier | None = None
        self.measuring: Measuring | None = None
        if not self.ranks.first:
            self.ranks.any(False, self.device)  # the first rank has filled the cache
        self._load(keep)
        if self.ranks.first:
            self.ranks.any(False, self.device)

    def _load(self, keep: bool) -> None:
        dataset, settings, cache, wanted = self.dataset, self.settings, self.cache, set(self.settings.metrics)
        check_counts(settings.metrics, settings.samples, len(dataset), "evaluate.metrics")
        if wanted & {*OF_FEATURES, "path_length"}:
            size = (dataset.resolution, dataset.resolution)
            self.extractor = load_extractor(settings.extractor, settings.weights, size, self.device, settings.layer)
        if self.extractor and wanted & set(OF_FEATURES):
            bias, keep = keep, keep or bool(wanted & set(OF_REAL_FEATURES))
            self.reference = load_reference(dataset, self.extractor, cache, settings.seed, keep, self.progress)
            self.measuring = Measuring(self.extractor, self.reference, settings.metrics, settings.seed, SAMPLING, bias=bias)
        if self.extractor and "memorised" in wanted:
            self.held_out = load_reference(_held_out(dataset), self.extractor, cache, settings.seed, progress=self.progress)
        if "classifier" in wanted:
            self.classifier = load_classifier(dataset, cache, settings.seed, self.progress)

    def sample(self, generator: nn.Module, classes: Sequence[str], turn: tuple[int, int] = (0, 1)) -> Iterator[np.ndarray]:
        """Yields the images of a generator that are measured, uint8 [n,C,H,W]; `classes` are its classes' names, in order.

        A class is drawn as often as it occurs among the reference images, or the distance would say how uneven those are. If
        the two have no class in common, classes are drawn uniformly. `turn` as in atelier.models.model.sample.
        """
        settings, weights = self.settings, self._weights(classes)
        return sample(generator, settings.samples, settings.seed, settings.batch, class_weights=weights, turn=turn)

    def drawn(self, generator: nn.Module, classes: Sequence[str]) -> list[str]:
        """The class of each image that `sample` yields, by name; [] where the generator takes none."""
        count = generator.shape.classes  # type: ignore[union-attr]
        settings, weights = self.settings, self._weights(classes)
        _, labels = draw_latents(generator.latent_dim, count, settings.samples, settings.seed, weights)  # type: ignore[arg-type]
        return [] if labels is None else [classes[label] for label in labels.tolist()]

    def _weights(self, classes: Sequence[str]) -> np.ndarray | None:
        shares = self.dataset.manifest.class_shares(self.dataset.split)
        weights = np.array([shares.get(name, 0.0) for name in classes])
        return weights if weights.any() else None

    def measure(self, generator: nn.Module, classes: Sequence[str]) -> Evaluation:
        """Measures what a generator paints, and what only a generator has, its path length. `classes` as in `sample`.

        The ranks share painting and looking; each gets all numbers, equal to the bit to those of one process.
        """
        samples, batch = self.settings.samples, self.settings.batch
        counts = [min(batch, samples - start) for start in range(0, samples, batch)]
        with naming_remedy(lambda: of_a_measurement(batch)):
            own = self.sample(generator, classes, (self.ranks.rank, self.ranks.world))
            rows = self.ranks.in_turn(map(self._look, own), counts, self._width(), self.device)
            found = self._evaluation(rows, self.drawn(generator, classes))
            if "path_length" in self.settings.metrics:
                found.measurements.append(self._path_length(generator))
        return found

    def __call__(self, images: Iterable[np.ndarray], classes: Sequence[str] = ()) -> Evaluation:
        """Measures `settings.samples` images that come as uint8 batches [n,C,H,W]; `classes` names that of each, for per_class.

        Values depend on the images and their order, not on how they were cut into batches. Raises MetricError for images
        of another shape or number than the settings and the dataset say.
        """
        return self._evaluation(map(self._look, images), classes)

    def _look(self, images: np.ndarray) -> np.ndarray:
        """What is seen in images: features and the classifier's probabilities side by side, float32 [n, width]."""
        shape = (self.dataset.channels, self.dataset.resolution, self.dataset.resolution)
        if images.dtype != np.uint8 or images.shape[1:] != shape:
            raise MetricError(f"images are {images.dtype} {images.shape[1:]} but {self.dataset.folder} holds uint8 {shape}")
        features = self.extractor.features(images) if self.extractor and self.reference else np.empty((len(images), 0))
        read = self.classifier.read(images) if self.classifier else np.empty((len(images), 0))
        return np.concatenate([features, read], axis=1, dtype=np.float32)

    def _evaluation(self, rows: Iterable[np.ndarray], classes: Sequence[str]) -> Evaluation:
        settings, reference, extractor = self.settings, self.reference, self.extractor
        seen = Seen(extractor.dim, settings.samples, True, self.cache) if extractor and reference else None
        width = extractor.dim if seen and extractor else 0
        probabilities: list[np.ndarray] = []
        count = 0
        with bar("measuring", settings.samples, self.progress) as shown:
            for part in rows:
                if count + len(part) > settings.samples:
                    raise MetricError(f"more than evaluate.samples = {settings.samples} images were generated; generate as many")
                if seen:
                    seen.update(part[:, :width])
                probabilities.append(part[:, width:])
                count += len(part)
                shown.update(len(part))
        if count != settings.samples:
            raise MetricError(f"{count} images were generated but evaluate.samples is {settings.samples}; generate as many")
        evaluation = Evaluation([])
        if reference and seen and self.measuring:
            found = self.measuring(seen, self.held_out, self._classes(classes, reference))
            evaluation = Evaluation(found.measurements, {}, found.by_class, found.spread, seen.features)
        if self.classifier:
            reading = summarise(np.concatenate(probabilities))
            learnt_from = f"{self.dataset.content_hash}:{self.dataset.split}"
            values = readings(self.classifier, reading, SAMPLING, learnt_from, settings.seed)
            shares = dict(zip(self.classifier.classes, reading.shares.tolist(), strict=True))
            evaluation = replace(evaluation, measurements=evaluation.measurements + values, class_shares=shares)
        return evaluation

    def _width(self) -> int:
        """Columns of what `_look` returns."""
        of_features = self.extractor.dim if self.extractor and self.reference else 0
        return of_features + (len(self.classifier.classes) if self.classifier else 0)

    def _classes(self, names: Sequence[str], reference: Reference) -> Classes | None:
        """The class of each image on both sides, where those of the generated ones are all among the real ones'."""
        known = self.dataset.classes
        if not names or not set(names) <= set(known):
            return None
        generated = np.array([known.index(name) for name in names])
        return Classes(known, generated, self.dataset.labels[reference.indices])

    def _path_length(self, generator: nn.Module) -> Measurement:
        assert self.extractor
        settings = self.settings
        value, error = path_length(generator, self.extractor.of_floats, settings.samples, settings.seed, settings.batch)  # type: ignore[arg-type]
        identity = Identity(
            metric=f"path_length_{self.extractor.name}",
            extractor=f"{self.extractor.name}, {self.extractor.dim} features",
            weights=self.extractor.weights_hash,
            resize=self.extractor.resize,
            samples=settings.samples,
            sampling="pairs of latents, classes equally likely; truncation 1",
            reference="none",
            reference_count=0,
            seed=settings.seed,
            parameters=f"squared distance of features, slerp, epsilon {EPSILON:g}, 1st to 99th percentile",
        )
        return Measurement(value, error, identity, higher_is_better=False)


def _held_out(dataset: PackedDataset) -> PackedDataset:
    """The test split beside the training images. Raises MetricError where there is none."""
    if dataset.split != "train" or not dataset.manifest.splits["test"].count:
        raise MetricError(
            f"{dataset.folder}: evaluate.metrics: memorised compares with held-out images, and there are none; raise "
            "data.holdout (or target.holdout) and pack again, or take memorised out and set gate.max_memorised: 1.0"
        )
    return PackedDataset(dataset.folder, "test")
