"""The pictures in styles that are measured: held-out contents, each in one of the styles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from atelier.config.section import SettingsError
from atelier.data.manifest import Manifest
from atelier.data.packed import PackedDataset
from atelier.data.sampler import positions
from atelier.models.model import from_uint8, in_turn, to_uint8
from atelier.networks.base import Generator
from atelier.networks.inputs import Given, Picture, Takes, required
from atelier.tasks.records import check_enough
from atelier.tasks.sampling import Sample, Sampler

CONTENT, STYLE = "content", "style"  # the sets, and the inputs of a generator that takes both


class StyleSampler(Sampler):
    """`count` contents out of the given set, each in a style out of the imitated one, in orders that the seed decides.

    A generator that takes the style is measured by styles that it never saw, where there are such; one that has learnt its style
    by just that one.
    """

    split: ClassVar[str] = "test"
    has_input = has_style = True
    rows: np.ndarray

    def __init__(
        self, generator: Generator, names: Sequence[str], imitated: PackedDataset, given: PackedDataset, count: int, seed: int
    ) -> None:
        self.check(given, count)
        self.check_given(generator.takes, given)
        self.generator, self.contents, self.styles = generator, given, imitated
        if given.folder == imitated.folder:
            raise SettingsError(
                f"{given.folder}: contents and styles are the same set; name the contents with --inputs (products.NAME.inputs)"
            )
        if STYLE not in generator.takes and imitated.split == self.split:
            raise SettingsError(
                f"{imitated.folder}: this generator did not learn the held-out styles, and it takes none; pack them with "
                "data.NAME.holdout: 0.0"
            )
        self.rows: np.ndarray = positions(seed, len(given), 0, count)
        self.style_rows = positions(seed + 1, len(imitated), 0, count)
        self.classes = []
        contents, styles = (f"{images.content_hash}:{images.split}" for images in (given, imitated))
        self.identity = f"contents of {contents} in styles of {styles}, drawn by the seed"

    @classmethod
    def split_of_imitated(cls, manifest: Manifest) -> str:
        return cls.split if manifest.splits[cls.split].count else "train"

    @classmethod
    def check(cls, given: PackedDataset, count: int) -> None:
        check_enough(given, count, cls.split)

    @classmethod
    def check_given(cls, takes: Takes, given: PackedDataset) -> None:
        kinds = list(required(takes).values())
        if any(not isinstance(kind, Picture) or kind.channels != given.channels for kind in kinds):
            raise SettingsError(
                f"{given.folder} holds pictures of {given.channels} channels, and the generator takes others; give it a set that "
                "is packed like those that it learnt from (data.NAME.channels)"
            )

    @torch.inference_mode()
    def __call__(self, batch: int, turn: tuple[int, int] = (0, 1)) -> Iterator[Sample]:
        device = next(self.generator.parameters()).device
        for part in in_turn(len(self.rows), batch, turn):
            content, style = self.contents.images(self.rows[part]), self.styles.images(self.style_rows[part])
            pictures = {name: from_uint8(torch.from_numpy(one)).to(device) for name, one in ((CONTENT, content), (STYLE, style))}
            made = self.generator.generate(given_of(self.generator.takes, pictures[CONTENT], pictures[STYLE]))
            yield Sample(to_uint8(made), None, content, style)


def given_of(takes: Mapping[str, Given], content: Tensor, style: Tensor) -> dict[str, Tensor]:
    """What a generator is given of a content and a style [N, C, H, W]: both, or its one picture; all else has its default."""
    if STYLE in takes:
        return {CONTENT: content.contiguous(), STYLE: style.contiguous()}
    (name,) = required(takes)
    return {name: content.contiguous()}
