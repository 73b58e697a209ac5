"""Pictures of a report: generated images beside real ones, and the real images nearest to the generated ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from atelier.data.packed import PackedDataset
from atelier.io.pictures import grid
from atelier.metrics.distances import nearest
from atelier.metrics.reference import Reference
from atelier.models.model import sample
from atelier.networks.base import Generator

COLUMNS, MAX_ROWS, ROWS_WITHOUT_CLASSES = 10, 20, 6
TYPICAL_FROM = 200


@dataclass(frozen=True)
class Row:
    """Images of one class (or of none, name ""): uint8 [COLUMNS, C, H, W] generated, and as many or fewer real ones."""

    name: str
    generated: np.ndarray
    real: np.ndarray


@dataclass(frozen=True)
class Neighbors:
    """Generated images uint8 [N, C, H, W], the real ones nearest to each [N, k, C, H, W], and how far they are [N, k].

    `space` names the features in which they are near, and `typical` is how far a real image is from the next real one there.
    `classes` [N] and `real_classes` [N, k] are the names of their classes; [] where there are none.
    """

    generated: np.ndarray
    real: np.ndarray
    distances: np.ndarray
    space: str
    typical: float
    classes: Sequence[str]
    real_classes: Sequence[Sequence[str]]


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
    classes_drawn = np.unique(np.linspace(0, len(classes) - 1, min(len(classes), MAX_ROWS)).round().astype(int))
    labels = torch.from_numpy(np.repeat(classes_drawn, COLUMNS))
    generated = np.concatenate(list(sample(generator, len(labels), seed, labels=labels)))
    return [
        Row(classes[label], generated[n * COLUMNS : (n + 1) * COLUMNS], _real(dataset, classes[label], seed))
        for n, label in enumerate(classes_drawn)
    ]


def picture(rows: Sequence[Row], scale: int = 2) -> Image.Image:
    """The generated images of all rows as one grid."""
    return grid(np.concatenate([row.generated for row in rows]), COLUMNS, scale)


def neighbors(
    generated: np.ndarray,
    features: np.ndarray,
    reference: Reference,
    dataset: PackedDataset,
    space: str,
    k: int = 3,
    classes: Sequence[str] = (),
) -> Neighbors:
    """The `k` real images nearest to each generated one uint8 [N, C, H, W] with these features [N, d].

    `reference` are the features of `dataset`, in the same `space`; `classes` names those that the generator was asked for.
    What is typical is the median over TYPICAL_FROM real images. Raises MetricError where there are fewer than k, or than 2.
    """
    count = len(generated)
    probes = reference.features[_some(np.arange(reference.count), TYPICAL_FROM, seed=0)]
    # One search for both, since each makes a copy of the reference. Nearest to a real image is itself.
    closest, squares = nearest(np.concatenate([features[:count], probes]), reference.features, max(k, 2))
    distances = np.sqrt(squares)
    indices = reference.indices[closest[:count, :k]]
    real = dataset.images(indices.ravel())
    return Neighbors(
        generated=generated,
        real=real.reshape(count, k, *real.shape[1:]),
        distances=distances[:count, :k],
        space=space,
        typical=float(np.median(distances[count:, 1])),
        classes=classes,
        real_classes=[[dataset.classes[label] for label in row] for row in dataset.labels[indices]] if dataset.classes else [],
    )


def _real(dataset: PackedDataset, name: str, seed: int) -> np.ndarray:
    if name not in dataset.classes:
        return dataset.images(np.arange(0))
    return dataset.images(_some(np.flatnonzero(dataset.labels == dataset.classes.index(name)), COLUMNS, seed))


def _some(indices: np.ndarray, count: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).permutation(indices)[:count])
