"""Measures a set of generated images against a packed dataset, and keeps the numbers with their identities."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from atelier.data.packed import PackedDataset
from atelier.files import atomic_write, canonical_json
from atelier.generator import draw_latents, sample
from atelier.metrics.classifier import CONFIDENT, Classifier, load_classifier, summarise
from atelier.metrics.coverage import NEIGHBOURS, RARE, memorised, prdc
from atelier.metrics.extractors import Extractor, load_extractor
from atelier.metrics.frechet import Moments, frechet_distance, frechet_standard_error
from atelier.metrics.identity import Identity, Measurement, MetricError
from atelier.metrics.kernel import SUBSETS, kernel_distance, kernel_standard_error, subset_size
from atelier.metrics.progress import bar
from atelier.metrics.reference import Reference, load_reference, reference_indices
from atelier.networks.layers import Generator
from atelier.settings import EvaluateSettings

OF_FEATURES = ("frechet", "kernel", "prdc", "memorised")
SAMPLING = "classes, where there are any, as often as among the reference images; truncation 1"


@dataclass(frozen=True)
class Evaluation:
    """All numbers of one set of generated images.

    `class_shares` is the share of each class by name, {} without the classifier; `spread` the standard deviation of a value
    over its subsets, by name; `features` float32 [n, dim] are those of all images, None where no metric needed them;
    `generator` is the sha256 of the weights that painted the images, "" where no file did.
    """

    measurements: list[Measurement]
    class_shares: dict[str, float] = field(default_factory=dict)
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
        """Writes the metrics JSON atomically: flat values, "class_shares", "identity" by name, "measurements", "generator"."""
        values: dict[str, Any] = dict(self.flat)
        values["identity"] = {m.name: m.to_dict()["identity"] for m in self.measurements}
        values["measurements"] = [m.to_dict() for m in self.measurements]
        values["class_shares"] = self.class_shares
        values["spread"] = self.spread
        values["generator"] = self.generator
        atomic_write(path, canonical_json(values))


def read_evaluation(path: Path) -> Evaluation:
    """Evaluation of a metrics JSON, without features. Raises MetricError for a missing file or one of another form."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        measurements = [Measurement.from_dict(item) for item in values["measurements"]]
        return Evaluation(measurements, values["class_shares"], values["spread"], generator=values["generator"])
    except OSError as error:
        raise MetricError(f"{path}: metrics cannot be read ({error.strerror}); run the evaluation first") from error
    except (ValueError, KeyError, TypeError, MetricError) as error:
        raise MetricError(f"{path}: not the metrics of this version of Atelier ({error}); evaluate again") from error


class Evaluator:
    """Everything about the real side, loaded once: call it with generators, or with images, as often as needed.

    Raises MetricError where the settings ask for what cannot be measured (weights, labels, too few images).
    """

    def __init__(
        self, dataset: PackedDataset, settings: EvaluateSettings, cache: Path,
        device: torch.device | str = "cpu", progress: bool = True,
    ) -> None:  # fmt: skip
        self.dataset, self.settings, self.progress = dataset, settings, progress
        self.extractor: Extractor | None = None
        self.reference: Reference | None = None
        self.held_out: Reference | None = None
        self.classifier: Classifier | None = None
        if set(OF_FEATURES) & set(settings.metrics):
            self.extractor = load_extractor(settings.extractor, settings.weights, dataset.resolution, device)
            self.reference = load_reference(dataset, self.extractor, cache, settings.seed, progress)
        if "memorised" in settings.metrics:
            assert self.extractor
            self.held_out = load_reference(_held_out(dataset), self.extractor, cache, settings.seed, progress)
        if "classifier" in settings.metrics:
            self.classifier = load_classifier(dataset, cache, settings.seed, progress)

    def sample(self, generator: nn.Module, classes: Sequence[str]) -> Iterator[np.ndarray]:
        """Yields the images of a generator that are measured, uint8 [n,C,H,W]; `classes` are its classes' names, in order.

        A class is drawn as often as it occurs among the reference images, or the distance would say how uneven those are. If
        the two have no class in common, classes are drawn uniformly.
        """
        settings = self.settings
        return sample(generator, settings.samples, settings.seed, settings.batch, class_weights=self._weights(classes))

    def drawn(self, generator: Generator) -> list[str]:
        """The class of each image that `sample` yields for a loaded generator, by name; [] without classes."""
        classes = generator.info.classes
        _, labels = draw_latents(
            generator.latent_dim, generator.shape.classes, self.settings.samples, self.settings.seed, self._weights(classes)
        )
        return [] if labels is None else [classes[label] for label in labels.tolist()]

    def _weights(self, classes: Sequence[str]) -> np.ndarray | None:
        shares = self.dataset.manifest.class_shares(self.dataset.split)
        weights = np.array([shares.get(name, 0.0) for name in classes])
        return weights if weights.any() else None

    def __call__(self, images: Iterable[np.ndarray]) -> Evaluation:
        """Measures `settings.samples` images that come as uint8 batches [n,C,H,W].

        Values depend on the images and their order, not on how they were cut into batches. Raises MetricError for images
        of another shape or number than the settings and the dataset say.
        """
        settings = self.settings
        moments = Moments(self.extractor.dim) if self.extractor else None
        features: list[np.ndarray] = []
        probabilities: list[np.ndarray] = []
        count = 0
        with bar("measuring", settings.samples, self.progress) as shown:
            for batch in images:
                self._check(batch, count)
                if self.extractor and moments:
                    found = self.extractor.features(batch)
                    moments.update(found)
                    features.append(found)
                if self.classifier:
                    probabilities.append(self.classifier.read(batch))
                count += len(batch)
                shown.update(len(batch))
        if count != settings.samples:
            raise MetricError(f"{count} images were generated but evaluate.samples is {settings.samples}; generate as many")
        kept = np.concatenate(features) if features else None
        distances, spread = self._distances(moments, kept) if moments is not None and kept is not None else ([], {})
        among = self._among(kept) if kept is not None else []
        readings, shares = self._readings(np.concatenate(probabilities)) if self.classifier else ([], {})
        return Evaluation(distances + among + readings, shares, spread, kept)

    def _check(self, batch: np.ndarray, before: int) -> None:
        shape = (self.dataset.channels, self.dataset.resolution, self.dataset.resolution)
        if batch.dtype != np.uint8 or batch.shape[1:] != shape:
            raise MetricError(f"image {before}: {batch.dtype} {batch.shape[1:]} but {self.dataset.folder} holds uint8 {shape}")
        if before + len(batch) > self.settings.samples:
            raise MetricError(f"more than evaluate.samples = {self.settings.samples} images were generated; generate as many")

    def _distances(self, moments: Moments, features: np.ndarray) -> tuple[list[Measurement], dict[str, float]]:
        """The distances that the settings name, and the deviation over subsets of the kernel distance by name."""
        assert self.reference and self.extractor
        measurements, spread = [], {}
        if "frechet" in self.settings.metrics:
            name = "fid" if self.extractor.is_fid else f"frechet_{self.extractor.name}"
            value = frechet_distance(moments, self.reference.moments)
            error = frechet_standard_error(features, moments, self.reference.moments)
            measurements.append(Measurement(value, error, self._by_features(name, "ddof 1"), higher_is_better=False))
        if "kernel" in self.settings.metrics:
            name = "kid" if self.extractor.is_fid else f"kernel_{self.extractor.name}"
            size = subset_size(len(features), self.reference.count)
            value, spread[name] = kernel_distance(features, self.reference.features, seed=self.settings.seed)
            how = f"cubic polynomial, unbiased, {SUBSETS} subsets of {size}"
            error = kernel_standard_error(features, self.reference.features, self.settings.seed)
            measurements.append(Measurement(value, error, self._by_features(name, how), higher_is_better=False))
        return measurements, spread

    def _among(self, features: np.ndarray) -> list[Measurement]:
        """How the images lie among real ones, as far as the settings ask for it."""
        assert self.reference
        found = []
        if "prdc" in self.settings.metrics:
            drawn = reference_indices(self.reference.count, self.settings.seed, cap=len(features))
            shares = asdict(prdc(self.reference.features[drawn], features))
            for name, (value, error) in shares.items():
                identity = self._by_features(name, f"{NEIGHBOURS} neighbours", len(drawn))
                found.append(Measurement(value, error, identity, higher_is_better=True))
        if self.held_out:
            value, error = memorised(features, self.reference.features, self.held_out.features)
            how = f"nearer than {1 - RARE:.0%} of {self.held_out.count} images of the test split"
            found.append(Measurement(value, error, self._by_features("memorised", how), higher_is_better=False))
        return found

    def _by_features(self, name: str, parameters: str, reference_count: int | None = None) -> Identity:
        assert self.reference and self.extractor
        return Identity(
            metric=name,
            extractor=f"{self.extractor.name}, {self.extractor.dim} features",
            weights=self.extractor.weights_hash,
            resize=self.extractor.resize,
            samples=self.settings.samples,
            sampling=SAMPLING,
            reference=f"{self.dataset.content_hash}:{self.dataset.split}",
            reference_count=reference_count or self.reference.count,
            seed=self.settings.seed,
            parameters=parameters,
        )

    def _readings(self, probabilities: np.ndarray) -> tuple[list[Measurement], dict[str, float]]:
        """What the classifier reads in the generated images and in held-out real ones, and the share of each class by name."""
        assert self.classifier
        found, real = summarise(probabilities), self.classifier.real
        generated = (found.count, SAMPLING)
        held_out = (real.count, f"real images: {self.classifier.held_out}")
        values = [
            ("classifier_confident", found.confident, *generated),
            ("class_share_min", float(found.shares.min()), *generated),
            ("classifier_real", real.confident, *held_out),
            ("classifier_accuracy", self.classifier.accuracy, *held_out),
        ]
        measurements = [
            Measurement(value, float(np.sqrt(value * (1 - value) / count)), self._reading(name, count, sampling), True)
            for name, value, count, sampling in values
        ]
        if real.confident:
            measurements.insert(1, self._relative(measurements[0], measurements[2]))
        return measurements, dict(zip(self.classifier.classes, found.shares.tolist(), strict=True))

    def _relative(self, generated: Measurement, real: Measurement) -> Measurement:
        """The first share over the second: a classifier that hesitates over real images too says little by the first alone."""
        errors = [(one.standard_error or 0.0) / one.value if one.value else 0.0 for one in (generated, real)]
        value = generated.value / real.value
        parameters = f"{generated.identity.parameters}; over {real.identity.sampling}"
        identity = replace(generated.identity, metric="classifier_relative", parameters=parameters)
        return Measurement(value, value * math.hypot(*errors), identity, higher_is_better=True)

    def _reading(self, name: str, count: int, sampling: str) -> Identity:
        assert self.classifier
        return Identity(
            metric=name,
            extractor=f"classifier of {len(self.classifier.classes)} classes",
            weights=self.classifier.weights_hash,
            resize="none, (x - 127.5) / 127.5",
            samples=count,
            sampling=sampling,
            reference=f"{self.dataset.content_hash}:{self.dataset.split}",
            reference_count=self.classifier.fitted,
            seed=self.settings.seed,
            parameters=f"confident above {CONFIDENT}",
        )


def _held_out(dataset: PackedDataset) -> PackedDataset:
    """The test split beside the training images. Raises MetricError where there is none."""
    if dataset.split != "train" or not dataset.manifest.splits["test"].count:
        raise MetricError(
            f"{dataset.folder}: evaluate.metrics: memorised compares with held-out images, and there are none; raise "
            "data.holdout (or target.holdout) and pack again, or take memorised out and set gate.max_memorised: 1.0"
        )
    return PackedDataset(dataset.folder, "test")
