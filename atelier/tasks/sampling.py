"""The images that are measured: a pure function of a seed, the same inputs for every generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from atelier.data.packed import PackedDataset
from atelier.models.model import generate
from atelier.networks import inputs
from atelier.networks.base import Generator


class Sample(NamedTuple):
    """A batch of generated images uint8 [n, C, H, W] and, where each has one, what it should have been, of that shape."""

    images: np.ndarray
    target: np.ndarray | None = None


class Sampler(Protocol):
    """The images of one generator that are measured, the same inputs for every generator.

    `identity` says what they are, as part of each number's identity; `classes` names the class of each image, [] without any;
    `has_target` says whether each sample has a target.
    """

    identity: str
    classes: list[str]
    has_target: bool

    def __call__(self, batch: int, turn: tuple[int, int] = (0, 1)) -> Iterator[Sample]:
        """Batches of `batch` images; `turn` = (rank, world) leaves out all but each world-th, from number `rank` on."""
        ...


Sampling = Callable[[Generator, Sequence[str], PackedDataset, int, int], Sampler]
"""From a generator, the names of its classes, the set that it imitates, a count and a seed to the images that are measured."""


class SeededSampler:
    """`count` images of inputs that are drawn from `seed`; `names` are the generator's classes in order.

    A class is drawn as often as it occurs among the images that are imitated, or a distance would say how uneven those are. If
    the two have no class in common, classes are drawn uniformly.
    """

    identity = "classes, where there are any, as often as among the reference images; truncation 1"
    has_target = False

    def __init__(self, generator: Generator, names: Sequence[str], imitated: PackedDataset, count: int, seed: int) -> None:
        shares = imitated.manifest.class_shares(imitated.split)
        weights = np.array([shares.get(name, 0.0) for name in names])
        self.generator = generator
        self.given = inputs.draw(generator.takes, count, seed, weights if weights.any() else None)
        labels = self.given.get("label")
        self.classes = [] if labels is None else [names[label] for label in labels.tolist()]

    def __call__(self, batch: int, turn: tuple[int, int] = (0, 1)) -> Iterator[Sample]:
        for images in generate(self.generator, self.given, batch, turn):
            yield Sample(images)
