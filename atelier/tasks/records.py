"""The images that are measured of a generator that is given records: pictures, label maps, or both beside noise."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from atelier.config.data import IMAGE, TARGET
from atelier.config.section import SettingsError
from atelier.data.packed import PackedDataset
from atelier.data.sampler import positions
from atelier.models.model import from_uint8, to_uint8
from atelier.networks import inputs
from atelier.networks.base import Generator
from atelier.tasks.sampling import Sample, Sampler

INPUT = "input"  # the field of several that a generator is given


class RecordSampler(Sampler):
    """Images made from `count` different records of the given set, in an order that the seed decides.

    A finished generator is measured by held-out records. Where the given set is the imitated one, each record has a target.
    """

    split: ClassVar[str] = "test"
    has_input = True

    def __init__(
        self, generator: Generator, names: Sequence[str], imitated: PackedDataset, given: PackedDataset, count: int, seed: int
    ) -> None:
        self.check(given, count)
        self.generator, self.given = generator, given
        same = (given.content_hash, given.split) == (imitated.content_hash, imitated.split)
        self.has_target = same and TARGET in given.fields
        self.rows = positions(seed, len(given), 0, count)
        self.drawn = inputs.draw({name: kind for name, kind in generator.takes.items() if kind.random}, count, seed)
        self.identity = f"made from records of {given.content_hash}:{given.split}, drawn by the seed"
        self.classes = []

    @classmethod
    def check(cls, given: PackedDataset, count: int) -> None:
        if count > len(given):
            raise SettingsError(
                f"{count} images are to be measured, each made from another record, but split {given.split} of {given.folder} "
                f"has {len(given)}; lower evaluate.samples (or train.evaluate_samples), or raise data.NAME.holdout"
            )

    @torch.inference_mode()
    def __call__(self, batch: int, turn: tuple[int, int] = (0, 1)) -> Iterator[Sample]:
        device = next(self.generator.parameters()).device
        rank, world = turn
        for start in range(rank * batch, len(self.rows), world * batch):
            part = slice(start, start + batch)
            records = self.given.read(self.rows[part])
            given = records[input_field(self.given.fields)]
            read = {name: values[part] for name, values in self.drawn.items()}
            read |= {name: as_input(given) for name in self.generator.takes if name not in read}
            made = self.generator.generate({name: values.to(device) for name, values in read.items()})
            yield Sample(to_uint8(made), records[TARGET] if self.has_target else None, given)


def input_field(fields: Collection[str]) -> str:
    """The field of a record that a generator is given: the only one, or `input`."""
    return INPUT if INPUT in fields else IMAGE


def as_input(values: np.ndarray) -> Tensor:
    """A field uint8 [N, C, H, W] as a generator takes it: a picture float [N, C, H, W] in [-1, 1]."""
    return from_uint8(torch.from_numpy(values))
