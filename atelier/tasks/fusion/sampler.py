"""The images that are measured: each made of the text and the sound of a held-out record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from atelier.config.section import SettingsError
from atelier.data.manifest import Manifest
from atelier.data.packed import PackedDataset
from atelier.data.sampler import positions
from atelier.models.model import generate
from atelier.networks.base import Generator
from atelier.networks.inputs import Takes
from atelier.tasks.sampling import Sample, Sampler
from atelier.tasks.told import optional, told


class FusionSampler(Sampler):
    """`count` records of the given set in an order that the seed decides, some more than once where there are few.

    Each image is made of noise, a caption and a recording of its record. A finished generator is measured by held-out records,
    where there are any, since there are the voices that it never heard.
    """

    split: ClassVar[str] = "test"
    rows: np.ndarray

    def __init__(
        self, generator: Generator, names: Sequence[str], imitated: PackedDataset, given: PackedDataset, count: int, seed: int
    ) -> None:
        self.check_given(generator.takes, given)
        self.generator = generator
        self.rows: np.ndarray = positions(seed, len(given), 0, count)
        self.given = told(generator.takes, given, self.rows, seed)
        self.classes = [given.classes[label] for label in given.labels[self.rows]] if given.classes else []
        what = " and ".join(optional(generator.takes))
        self.identity = f"made of {what} of records of {given.content_hash}:{given.split}, drawn by the seed"

    @classmethod
    def split_of_imitated(cls, manifest: Manifest) -> str:
        return cls.split if manifest.splits[cls.split].count else "train"

    @classmethod
    def check_given(cls, takes: Takes, given: PackedDataset) -> None:
        has: dict[str, list[int]] = {field.kind: field.table.shape for field in given.fields.values() if field.table}
        for name, kind in optional(takes).items():
            if has.get(kind.kind) != list(kind.shape):
                raise SettingsError(
                    f"the generator takes {name} of {list(kind.shape)} numbers, but {given.folder} holds "
                    f"{has.get(kind.kind, 'none')}; give it a set that is packed like the one that it learnt from"
                )

    def __call__(self, batch: int, turn: tuple[int, int] = (0, 1)) -> Iterator[Sample]:
        for images in generate(self.generator, self.given, batch, turn):
            yield Sample(images)
