"""The images that are measured of a generator that is given records: pictures, label maps, or both beside noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from atelier.config.section import SettingsError
from atelier.data.packed import PackedDataset
from atelier.data.sampler import positions
from atelier.models.model import from_uint8, to_uint8
from atelier.networks.base import Generator
from atelier.networks.inputs import Picture, Takes
from atelier.tasks.sampling import Sample, Sampler


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
        self.generator, self.given, self.imitated = generator, given, imitated
        self.has_target = given is imitated
        self.rows = positions(seed, len(given), 0, count)
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
            rows = self.rows[start : start + batch]
            images = self.given.images(rows)
            inputs = inputs_of(self.generator.takes, {"image": images})
            made = self.generator.generate({name: values.to(device) for name, values in inputs.items()})
            yield Sample(to_uint8(made), images if self.has_target else None, images)


def inputs_of(takes: Takes, records: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """The inputs of a generator by name, of the fields of records uint8 [N, C, H, W]."""
    (name,) = (name for name, kind in takes.items() if isinstance(kind, Picture))
    return {name: from_uint8(torch.from_numpy(records["image"]))}
