"""Pictures of a report: what a generator paints beside what is real, and the real images nearest to what it paints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from atelier.data.packed import PackedDataset
from atelier.generator import sample
from atelier.metrics.reference import Reference, nearest
from atelier.networks.layers import Generator
from atelier.pictures import grid

COLUMNS, MAX_ROWS, ROWS_WITHOUT_CLASSES = 10, 20, 6


@dataclass(frozen=True)
class Row:
    """Images of one class (or of none, name ""): uint8 [COLUMNS, C, H, W] generated, and as many or fewer real ones."""

    name: str
    generated: np.ndarray
    real: np.ndarray


@dataclass(frozen=True)
class Neighbours:
    """Generated images uint8 [N, C, H, W], the real ones nearest to each [N, k, C, H, W], and how far they are [N, k].

    `space` names the features in which they are near.
    """

    generated: np.ndarray
    real: np.ndarray
    distances: np.ndarray
    space: str


def rows(generator: Generator, dataset: PackedDataset, seed: int = 0) -> list[Row]:
    """Ten generated images of each class, in rows, each beside real images of the class of that name.

    Without classes there are six rows. Of more than 20 classes 20 are taken at even steps. A pure function of its arguments.
    """
    classes: list[str] = generator.info.classes if generator.info.conditional else []
    if not classes:
        generated = np.concatenate(list(sample(generator, ROWS_WITHOUT_CLASSES * COLUMNS, seed)))
        real = dataset.images(_some(np.arange(len(dataset)), ROWS_WITHOUT_CLASSES * COLUMNS, seed))
        cuts = [slice(n * COLUMNS, (n + 1) * COLUMNS) for n in range(ROWS_WITHOUT_CLASSES)]
        return [Row("", generated[cut], real[cut]) for cut in cuts]
    shown = np.unique(np.linspace(0, len(classes) - 1, min(len(classes), MAX_ROWS)).round().astype(int))
    labels = torch.from_numpy(np.repeat(shown, COLUMNS))
    generated = np.concatenate(list(sample(generator, len(labels), seed, labels=labels)))
    return [
        Row(classes[label], generated[n * COLUMNS : (n + 1) * COLUMNS], _real(dataset, classes[label], seed))
        for n, label in enumerate(shown)
    ]


def picture(rows: Sequence[Row], scale: int = 2) -> Image.Image:
    """The generated images of all rows as one grid."""
    return grid(np.concatenate([row.generated for row in rows]), COLUMNS, scale)


def neighbours(
    generated: np.ndarray, features: np.ndarray, reference: Reference, dataset: PackedDataset, space: str, k: int = 3
) -> Neighbours:
    """The `k` real images nearest to each generated one uint8 [N, C, H, W] with these features [N, d].

    `reference` are the features of `dataset`, in the same `space`. Raises MetricError where there are fewer than k.
    """
    found, distances = nearest(features[: len(generated)], reference.features, k)
    real = dataset.images(reference.indices[found.ravel()])
    return Neighbours(generated, real.reshape(len(generated), k, *real.shape[1:]), distances, space)


def _real(dataset: PackedDataset, name: str, seed: int) -> np.ndarray:
    if name not in dataset.classes:
        return dataset.images(np.arange(0))
    return dataset.images(_some(np.flatnonzero(dataset.labels == dataset.classes.index(name)), COLUMNS, seed))


def _some(indices: np.ndarray, count: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).permutation(indices)[:count])
