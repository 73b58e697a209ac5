"""The images that are measured: a pure function of a seed, the same inputs for every generator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from atelier.data.manifest import Manifest
from atelier.data.packed import PackedDataset
from atelier.models.model import generate
from atelier.networks import inputs
from atelier.networks.base import Generator
from atelier.networks.inputs import Takes


class Sample(NamedTuple):
    """A batch of generated images uint8 [n, C, H, W].

    Where each has one, `target` is what it should have been, of that shape, `input` uint8 [n, c, h, w] is the picture or the
    label map that it was made from, and `style` uint8 [n, C, h, w] the picture that it was to resemble in all but its content.
    """

    images: np.ndarray
    target: np.ndarray | None = None
    input: np.ndarray | None = None
    style: np.ndarray | None = None


class Sampler(ABC):
    """The images of one generator that are measured, the same inputs for every generator.

    `split` is the part of the sets, train or test, of which a finished generator is measured. `identity` says what the images
    are, as part of each number's identity; `classes` names the class of each image, [] without any; `has_target`, `has_input` and
    `has_style` say whether each sample has these; `palette` uint8 [K, 3] are the colors of the classes where the inputs are label
    maps. `rows` int64 [count] are the places of the records that the images are made from, None where they are made from none.
    """

    split: ClassVar[str] = "train"
    identity: str
    classes: list[str]
    has_target: bool = False
    has_input: bool = False
    has_style: bool = False
    palette: np.ndarray | None = None
    rows: np.ndarray | None = None

    @abstractmethod
    def __init__(
        self, generator: Generator, names: Sequence[str], imitated: PackedDataset, given: PackedDataset, count: int, seed: int
    ) -> None:
        """`count` images by `seed`: `names` are the generator's classes, `given` is the set whose records it is given."""

    @classmethod
    def split_of_imitated(cls, manifest: Manifest) -> str:
        """The part of the imitated set, whose manifest this is, against which a finished generator is measured."""
        return cls.split

    @classmethod  # noqa: B027 - a seed is enough for any number
    def check(cls, given: PackedDataset, count: int) -> None:
        """Raises SettingsError where `given` has not enough records for `count` images."""

    @classmethod
    def targets(cls, imitated: PackedDataset, given: PackedDataset) -> bool:
        """Whether each image that is made of a record of `given` has a target."""
        return False

    @classmethod  # noqa: B027 - what is drawn is of no set
    def check_given(cls, takes: Takes, given: PackedDataset) -> None:
        """Raises SettingsError where the records of `given` are not what a generator with these inputs takes."""

    def variants(self, columns: int) -> np.ndarray | None:
        """Records, each with inputs that may be drawn of it, uint8 [rows, columns, C, H, W]; None where nothing is drawn."""
        return None

    @abstractmethod
    def __call__(self, batch: int, turn: tuple[int, int] = (0, 1)) -> Iterator[Sample]:
        """Batches of `batch` images; `turn` = (rank, world) leaves out all but each world-th, from number `rank` on."""


Sampling = type[Sampler]


class SeededSampler(Sampler):
    """Images of inputs that are drawn from the seed.

    A class is drawn as often as it occurs among the images that are imitated, or a distance would say how uneven those are. If
    the two have no class in common, classes are drawn uniformly.
    """

    identity = "classes, where there are any, as often as among the reference images; truncation 1"

    def __init__(
        self, generator: Generator, names: Sequence[str], imitated: PackedDataset, given: PackedDataset, count: int, seed: int
    ) -> None:
        shares = imitated.manifest.class_shares(imitated.split)
        weights = np.array([shares.get(name, 0.0) for name in names])
        self.generator = generator
        self.given = inputs.draw(generator.takes, count, seed, weights if weights.any() else None)
        labels = self.given.get("label")
        self.classes = [] if labels is None else [names[label] for label in labels.tolist()]

    def __call__(self, batch: int, turn: tuple[int, int] = (0, 1)) -> Iterator[Sample]:
        for images in generate(self.generator, self.given, batch, turn):
            yield Sample(images)
