"""The images that are measured of a generator that is given records: pictures, label maps, or both beside noise."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from atelier.config.data import IMAGE, TARGET
from atelier.config.section import SettingsError
from atelier.data.manifest import FieldInfo
from atelier.data.packed import PackedDataset
from atelier.data.sampler import positions
from atelier.models.model import from_uint8, in_turn, to_uint8
from atelier.networks import inputs
from atelier.networks.base import Generator
from atelier.networks.inputs import Given, LabelMap, Noise, Picture, Takes
from atelier.tasks.sampling import Sample, Sampler

INPUT = "input"  # the field of several that a generator is given


class RecordSampler(Sampler):
    """Images made from `count` different records of the given set, in an order that the seed decides.

    A finished generator is measured by held-out records. Where the given set is the imitated one, each record has a target.
    """

    split: ClassVar[str] = "test"
    has_input = True
    rows: np.ndarray

    def __init__(
        self, generator: Generator, names: Sequence[str], imitated: PackedDataset, given: PackedDataset, count: int, seed: int
    ) -> None:
        self.check(given, count)
        self.check_given(generator.takes, given)
        self.generator, self.given = generator, given
        self.name, self.field = record_input(generator.takes), input_field(given.fields)
        self.kind = generator.takes[self.name]
        self.has_target = self.targets(imitated, given)
        self.rows = positions(seed, len(given), 0, count)
        self.drawn = inputs.draw({name: kind for name, kind in generator.takes.items() if kind.random}, count, seed)
        self.identity = f"made from records of {given.content_hash}:{given.split}, drawn by the seed"
        self.classes = []
        self.palette = palette_of(self.kind)

    @classmethod
    def check(cls, given: PackedDataset, count: int) -> None:
        check_enough(given, count, cls.split)

    @classmethod
    def targets(cls, imitated: PackedDataset, given: PackedDataset) -> bool:
        same = (given.content_hash, given.split) == (imitated.content_hash, imitated.split)
        return same and TARGET in given.fields

    @classmethod
    def check_given(cls, takes: Takes, given: PackedDataset) -> None:
        kind = takes[record_input(takes)]
        assert isinstance(kind, Picture | LabelMap)
        wanted, has = (_named(one) for one in (kind, given.fields[input_field(given.fields)]))
        if wanted != has:
            raise SettingsError(
                f"the generator takes {wanted}, but {given.folder} holds {has}; give it a set that is packed like those that it "
                "learnt from (data.NAME.channels, fields)"
            )

    @torch.inference_mode()
    def __call__(self, batch: int, turn: tuple[int, int] = (0, 1)) -> Iterator[Sample]:
        device = next(self.generator.parameters()).device
        for part in in_turn(len(self.rows), batch, turn):
            given, target = self.pairs(part)
            read = {name: values[part] for name, values in self.drawn.items()}
            read[self.name] = as_input(self.kind, given)
            made = self.generator.generate({name: values.to(device) for name, values in read.items()})
            yield Sample(to_uint8(made), target, given)

    def pairs(self, part: slice) -> tuple[np.ndarray, np.ndarray | None]:
        """What the generator is given of a part of the records and, where it is known, what should come of it, uint8."""
        records = self.given.read(self.rows[part])
        return records[self.field], records[TARGET] if self.has_target else None


def check_enough(given: PackedDataset, count: int, split: str) -> None:
    """Raises SettingsError where `given` has not a record for each of `count` images; `split` is that of finished generators."""
    if count > len(given):
        finished = given.split == split
        remedy = "evaluate.samples or raise data.NAME.holdout" if finished else "train.evaluate_samples (or finetune's)"
        raise SettingsError(
            f"{count} images are to be measured, each made from another record, but split {given.split} of {given.folder} "
            f"has {len(given)}; lower {remedy}"
        )


def input_field(fields: Collection[str]) -> str:
    """The field of a record that a generator is given: the only one, or `input`."""
    return INPUT if INPUT in fields else IMAGE


def record_input(takes: Takes) -> str:
    """The name of the input that is a record's field, which has to be given."""
    (name,) = inputs.required(takes)
    return name


def takes_from(field: FieldInfo, resolution: int, noise: int) -> Takes:
    """What a translator of this field takes: its pictures or label maps, beside noise of so many numbers where there are any."""
    beside: Takes = {"noise": Noise(size=noise, truncation=False)} if noise else {}
    if field.kind == "map":
        return beside | {"map": LabelMap(classes=field.classes, colors=field.colors, resolution=resolution)}
    return beside | {"image": Picture(channels=field.channels, resolution=resolution)}  # type: ignore[arg-type]


def as_input(kind: Given, values: np.ndarray) -> Tensor:
    """A field uint8 [N, C, H, W] as a generator takes it: a picture float [N, C, H, W] in [-1, 1], a map int64 [N, H, W]."""
    pixels = torch.from_numpy(values)
    return pixels[:, 0].long() if isinstance(kind, LabelMap) else from_uint8(pixels)


def palette_of(kind: Given) -> np.ndarray | None:
    """The colors uint8 [K, 3] of a label map's classes, None of another input."""
    if not isinstance(kind, LabelMap):
        return None
    return np.array([list(mark.to_bytes(3, "big")) for mark in kind.marks], np.uint8)


def _named(of: Picture | LabelMap | FieldInfo) -> str:
    """The kind of pictures that an input takes, or a field holds."""
    return f"label maps of {', '.join(of.classes)}" if of.kind == "map" else f"pictures of {of.channels} channels"
