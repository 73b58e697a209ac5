"""Shards of whole pictures: tar files as those of squares, but for records whose length follows from their picture's size.

A sample is `000000000.ppm` (`.pgm` in gray), of several fields `000000000.FIELD.ppm` for each, and, with labels, `000000000.cls`.
Where its parts lie follows from the sizes in the manifest, so that a crop is read without the picture around it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from atelier.data.crops import AS_THEY_ARE, Crops, Grid, Places, moved
from atelier.data.errors import REMEDY, DataError
from atelier.data.manifest import Layout, Manifest, Shard
from atelier.data.shards import BLOCK, END, ZERO, netpbm_header, padded


class WholeField(NamedTuple):
    """One field of whole pictures: `scale` says by how much its sides are shorter than those of the one that is imitated."""

    channels: int
    scale: int

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Its (width, height) in a picture whose imitated field has these."""
        return width // self.scale, height // self.scale

    def bytes(self, width: int, height: int) -> int:
        """Of its pixels there."""
        wide, high = self.size(width, height)
        return wide * high * self.channels


WholeFields = Mapping[str, WholeField]  # in the order of the record


def unit_of(fields: WholeFields) -> int:
    """What sides and corners are multiples of, so that they are whole numbers of pixels in every field."""
    return math.lcm(*(field.scale for field in fields.values()))


def whole_layout(names: Sequence[str], classes: int) -> tuple[Layout, dict[str, int]]:
    """What the manifest says of the places in a record, which follow from sizes: nothing but the digits of a label."""
    digits = len(str(classes - 1)) if classes else 0
    return Layout(stride=0, pixels=0, label=0, label_digits=digits), dict.fromkeys(names, 0)


def record_places(fields: WholeFields, width: int, height: int, classes: int) -> tuple[int, dict[str, int], int]:
    """The length of the record of a picture of this size, where the pixels of each field begin in it, and its label (0: none)."""
    places, end = {}, 0
    for name, field in fields.items():
        places[name] = end + BLOCK + len(netpbm_header(*field.size(width, height), field.channels))
        end = padded(places[name] + field.bytes(width, height))
    return (end + 2 * BLOCK, places, end + BLOCK) if classes else (end, places, 0)


class WholePictures:
    """The whole pictures of mapped shards in a folder: crops of them by field, and labels.

    Raises DataError where the manifest's sizes do not fit shards, resolution or scales.
    """

    def __init__(self, folder: Path, maps: Sequence[np.ndarray], shards: Sequence[Shard], manifest: Manifest) -> None:
        self.folder = folder
        self.classes, self.digits = len(manifest.classes), manifest.layout.label_digits
        self.fields = {name: WholeField(field.channels, field.scale) for name, field in manifest.records.items()}
        self._maps = [np.asarray(one) for one in maps]  # plain arrays, of which a slice costs less than of a mapping
        self._owners: list[int] = []
        self._starts: dict[str, list[int]] = {name: [] for name in self.fields}
        self._labels: list[int] = []
        sizes = []
        for owner, shard in enumerate(shards):
            start = 0
            for width, height in (map(int, size.split("x")) for size in shard.sizes):
                length, places, label = record_places(self.fields, width, height, self.classes)
                self._owners.append(owner)
                self._labels.append(start + label)
                for name, place in places.items():
                    self._starts[name].append(start + place)
                sizes.append((height, width))
                start += length
            if start + len(END) != shard.bytes:
                raise DataError(f"{folder / shard.name}: of {shard.bytes} bytes, but the manifest's sizes give others; {REMEDY}")
        self.sizes, unit = np.array(sizes, dtype=np.int64), unit_of(self.fields)
        if (
            manifest.resolution < 1
            or (self.sizes < manifest.resolution).any()
            or (self.sizes % unit).any()
            or manifest.resolution % unit
        ):
            raise DataError(
                f"{folder}: the manifest has sizes of less than {manifest.resolution} px, or no multiples of {unit}; {REMEDY}"
            )
        self.grid = Grid(self.sizes, manifest.resolution, unit)

    def pixels(self, name: str, number: int) -> np.ndarray:
        """A field of a whole picture, uint8 [H, W, C], mapped."""
        field, (height, width) = self.fields[name], self.sizes[number].tolist()
        start = self._starts[name][number]
        wide, high = field.size(width, height)
        flat = self._maps[self._owners[number]][start : start + field.bytes(width, height)]
        return flat.reshape(high, wide, field.channels)

    def read(self, name: str, places: Places, side: int, words: np.ndarray | None = None, cut: Crops = AS_THEY_ARE) -> np.ndarray:
        """Squares of `side` pixels of the imitated field, uint8 [N, C, side // scale, side // scale].

        `words` [N] mirror and turn them, where `cut` has it.
        """
        field = self.fields[name]
        own = side // field.scale
        out = np.empty((len(places.pictures), own, own, field.channels), dtype=np.uint8)
        tops, lefts = places.tops // field.scale, places.lefts // field.scale
        for row, (number, top, left) in enumerate(zip(places.pictures.tolist(), tops.tolist(), lefts.tolist(), strict=True)):
            square = self.pixels(name, number)[top : top + own, left : left + own]
            out[row] = square if words is None else moved(square, int(words[row]), cut)
        return np.ascontiguousarray(out.transpose(0, 3, 1, 2))

    def labels(self) -> np.ndarray:
        """Class indices of all records, int64 [len]; a picture's once for each that it counts as."""
        powers = 10 ** np.arange(self.digits - 1, -1, -1)
        places = zip(self._owners, self._labels, strict=True)
        digits = np.stack([self._maps[owner][start : start + self.digits] for owner, start in places])
        labels = (digits.astype(np.int64) - ZERO) @ powers
        if labels.min() < 0 or labels.max() >= self.classes:
            raise DataError(f"{self.folder}: damaged, it holds labels outside its {self.classes} classes; {REMEDY}")
        return np.repeat(labels, self.grid.counts())
