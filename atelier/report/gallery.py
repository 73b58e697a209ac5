"""Pictures of a report: generated images beside real ones, and the real images nearest to the generated ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from atelier.data.packed import PackedDataset
from atelier.io.pictures import GAP_COLOUR, colored, grid
from atelier.metrics.distances import nearest
from atelier.metrics.pairs import as_large, times_larger
from atelier.metrics.reference import Reference
from atelier.models.model import sample
from atelier.networks.base import Generator
from atelier.tasks.sampling import Sample, Sampler

COLUMNS, MAX_ROWS, ROWS_WITHOUT_CLASSES = 10, 20, 6
PART, PART_GAP = 128, 3  # pixels: how wide records' images of one kind are at most beside each other, and what parts the kinds
TYPICAL_FROM = 200


@dataclass(frozen=True)
class Row:
    """Images of one class (or of none, name ""): uint8 [n, C, H, W] generated, and as many or fewer real ones.

    Where images are made from others, `given` are those; then the real ones are what should have come of them, if that is known.
    `enlarged` are smaller ones of these at the side of the images, bicubically, which is what a generator has to exceed. Where
    images are to have the `style` of others, these stand in the place of the real ones, of which there are none then.
    """

    name: str
    generated: np.ndarray
    real: np.ndarray
    given: np.ndarray | None = None
    enlarged: np.ndarray | None = None
    style: np.ndarray | None = None


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


def rows_of_records(sampler: Sampler, dataset: PackedDataset, seed: int = 0) -> list[Row]:
    """The first images that are measured, in up to six rows, with what they were made from and what should have come of it.

    Where that is not known, the pictures of their styles or real images stand beside them. A row has as many records as PART is
    wide, one at least and ten at most, since several images of each stand beside each other.
    """
    columns = max(1, min(COLUMNS, PART // dataset.resolution))
    others = dataset.images(_some(np.arange(len(dataset)), ROWS_WITHOUT_CLASSES * columns, seed))
    found = []
    for number, one in enumerate(itertools.islice(sampler(columns), ROWS_WITHOUT_CLASSES)):
        beside = others[number * columns : (number + 1) * columns] if one.style is None else others[:0]
        real = beside if one.target is None else one.target
        given = one.input if sampler.palette is None or one.input is None else colored(one.input, sampler.palette)
        found.append(Row("", one.images, real, given, _enlarged(one), one.style))
    return found


def picture(rows: Sequence[Row], others: Sequence[Row] = (), scale: int = 2) -> Image.Image:
    """The generated images of all rows as one grid.

    Those of records stand between what they were made from and what should have come of it, as in the report: given, enlarged,
    style, the other generator's (`others`, rows of the same records), generated, real.
    """
    if rows[0].given is None:
        return grid(np.concatenate([row.generated for row in rows]), COLUMNS, scale)
    shape = rows[0].generated.shape
    made, other = [row.generated for row in rows], [row.generated for row in others]
    given = [row.given for row in rows], [row.enlarged for row in rows], [row.style for row in rows]
    images = *given, other, made, [row.real if row.style is None else None for row in rows]
    parts = [
        grid(np.concatenate([_line(one, shape) for one in of_part if one is not None]), shape[0], scale)
        for of_part in images
        if any(one is not None for one in of_part)
    ]
    gap = PART_GAP * scale
    mode = "RGB" if any(part.mode == "RGB" for part in parts) else "L"
    sheet = Image.new(mode, (sum(part.width + gap for part in parts) - gap, parts[0].height), (GAP_COLOUR,) * len(mode))
    left = 0
    for part in parts:
        sheet.paste(part, (left, 0))
        left += part.width + gap
    return sheet


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


def _line(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Images as a line of a grid of others of this shape [n, C, H, W], smaller ones enlarged; empty places at its end."""
    line = np.full((shape[0], images.shape[1], *shape[2:]), GAP_COLOUR, np.uint8)
    factor = shape[2] // images.shape[2] if len(images) else 1
    line[: len(images)] = images.repeat(factor, axis=2).repeat(factor, axis=3)
    return line


def _enlarged(sample: Sample) -> np.ndarray | None:
    """The pictures that images were made from at the side of these; None where they have that side, or none are known."""
    factor = times_larger(sample.images, sample.input)
    return as_large(sample.input, factor) if sample.input is not None and factor > 1 else None


def _real(dataset: PackedDataset, name: str, seed: int) -> np.ndarray:
    if name not in dataset.classes:
        return dataset.images(np.arange(0))
    return dataset.images(_some(np.flatnonzero(dataset.labels == dataset.classes.index(name)), COLUMNS, seed))


def _some(indices: np.ndarray, count: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).permutation(indices)[:count])
