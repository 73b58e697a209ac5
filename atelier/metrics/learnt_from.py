"""Classifiers that are fitted on generated images, beside ones fitted on as many real images: what do held-out real ones say?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from atelier.data.packed import PackedDataset
from atelier.metrics import classifier
from atelier.metrics.fitting import fitted, parts
from atelier.metrics.identity import MetricError
from atelier.metrics.metric import RealImages
from atelier.tasks.sampling import Sample

LARGEST = 32  # side in pixels of what these classifiers are shown


class Accuracies(NamedTuple):
    """Shares of `held_out` real images that are read as labelled, after `fitted` generated images and after as many real ones."""

    generated: float
    real: float
    fitted: int
    held_out: int


@dataclass
class Learnt:
    """Keeps the pixels of generated images, on which a classifier is fitted; the reader of the metric cas.

    Above 32 px images are averaged in blocks and rounded. Raises MetricError for a set without two labelled classes.
    """

    images: RealImages
    dataset: PackedDataset = field(init=False)

    def __post_init__(self) -> None:
        known = self.images.dataset
        self.dataset = known if known.split != "test" else PackedDataset(known.folder, "train")
        if len(self.dataset.classes) < 2:
            raise MetricError(
                f"evaluate.metrics: cas needs images of at least two labelled classes and {known.folder} has "
                f"{len(known.classes)}; take cas out, or pack with data.NAME.labels: true"
            )

    @property
    def side(self) -> int:
        """Pixels a side of what the classifiers are shown."""
        side = self.dataset.resolution
        while side > LARGEST:
            side //= 2
        return side

    @property
    def width(self) -> int:
        """Columns of what `read` returns."""
        return self.dataset.channels * self.side**2

    def read(self, sample: Sample) -> np.ndarray:
        """The pixels of the images, float32 [n, channels * side * side] of whole numbers."""
        return self._small(sample.images).reshape(len(sample.images), -1).astype(np.float32)

    def accuracies(
        self, columns: np.ndarray, labels: np.ndarray, once: Callable[[str, Callable[[], float]], float]
    ) -> Accuracies:
        """Of a classifier fitted on generated images, their columns [N, width] and classes [N], and of one of real images.

        Both see as many images, those that both sides have, in as many steps. `once` is a View's, since what is read after real
        images is the same for all generators. Raises MetricError where a class was not generated.
        """
        learnt, held_out = classifier.learnt_and_held_out(self.dataset, self.images.seed)
        count = min(len(labels), len(learnt))
        if missing := [name for label, name in enumerate(self.dataset.classes) if label not in labels[:count]]:
            raise MetricError(
                f"evaluate.metrics: cas needs images of all classes, and none of {', '.join(missing)} is among {count}; raise "
                "evaluate.samples, or take cas out"
            )
        pixels = columns[:count].astype(np.uint8).reshape(-1, self.dataset.channels, self.side, self.side)
        own = self._network()
        classifier.fit(own, lambda rows: pixels[rows], labels[:count], np.arange(count), self.images.seed, False)
        own.eval().requires_grad_(False)
        real = once("accuracy of as many", lambda: self._accuracy(self._of_real(learnt, count), *held_out))
        return Accuracies(self._accuracy(own, *held_out), real, count, len(held_out[1]))

    def _of_real(self, learnt: np.ndarray, count: int) -> nn.Module:
        """The classifier of as many real images, which is kept."""
        dataset, seed = self.dataset, self.images.seed
        chosen = np.random.default_rng(seed).permutation(learnt)[:count]
        network = self._network()
        key = {"images": dataset.content_hash, "split": dataset.split, "seed": seed, "count": count}

        def fit() -> None:
            classifier.fit(
                network, lambda rows: self._small(dataset.images(rows)), dataset.labels, chosen, seed, self.images.progress
            )

        fitted(network, "classifier_of_as_many", self.images.cache, key, fit)
        return network

    def _network(self) -> nn.Module:
        return classifier.network_of(self.dataset.channels, self.side, len(self.dataset.classes), self.images.seed)

    def _accuracy(self, network: nn.Module, source: PackedDataset, indices: np.ndarray) -> float:
        classes = len(self.dataset.classes)
        found = [classifier.read_by(network, self._small(source.images(rows)), classes) for rows in parts(indices)]
        return float((np.concatenate(found).argmax(axis=1) == source.labels[indices]).mean())

    def _small(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, C, side, side]."""
        factor = self.dataset.resolution // self.side
        if factor == 1:
            return images
        means = nn.functional.avg_pool2d(torch.from_numpy(images).float(), factor)
        return means.round().to(torch.uint8).numpy()
