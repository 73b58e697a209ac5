"""Shards of whole pictures: tar files as those of squares, but for records whose length follows from their picture's size.

A sample is `000000000.ppm` (`.pgm` in gray), of several fields `000000000.FIELD.ppm` for each, and, with labels, `000000000.cls`.
Where its parts lie follows from the sizes in the manifest, so that a crop is read without the picture around it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from atelier.data.crops import AS_THEY_ARE, Crops, Grid, Places, moved
from atelier.data.errors import REMEDY, DataError
from atelier.data.manifest import Layout, Manifest, Shard
from atelier.data.shards import BLOCK, END, KEY_DIGITS, ZERO, decimal, name_records, netpbm_header, padded, tar_header


class Part(NamedTuple):
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


Parts = Mapping[str, Part]  # in the order of the record


def unit_of(parts: Parts) -> int:
    """What sides and corners are multiples of, so that they are whole numbers of pixels in every field."""
    return math.lcm(*(part.scale for part in parts.values()))


def whole_layout(names: Sequence[str], classes: int) -> tuple[Layout, dict[str, int]]:
    """What the manifest says of the places in a record, which follow from sizes: nothing but the digits of a label."""
    digits = len(str(classes - 1)) if classes else 0
    return Layout(stride=0, pixels=0, label=0, label_digits=digits), dict.fromkeys(names, 0)


def record_places(parts: Parts, width: int, height: int, classes: int) -> tuple[int, dict[str, int], int]:
    """The length of the record of a picture of this size, where the pixels of each field begin in it, and its label (0: none)."""
    places, end = {}, 0
    for name, part in parts.items():
        places[name] = end + BLOCK + len(netpbm_header(*part.size(width, height), part.channels))
        end = padded(places[name] + part.bytes(width, height))
    return (end + 2 * BLOCK, places, end + BLOCK) if classes else (end, places, 0)


class WholeWriter:
    """Writes one split after the other into shards of at most `shard_bytes`, or of one picture that is larger.

    `sizes` int [N, 2] are the (width, height) of every picture by row.
    """

    def __init__(self, folder: Path, parts: Parts, sizes: np.ndarray, classes: int, shard_bytes: int) -> None:
        self.folder, self.parts, self.sizes, self.classes, self.shard_bytes = folder, parts, sizes, classes, shard_bytes
        self.layout, self.places = whole_layout(list(parts), classes)

    def write(
        self,
        split: str,
        rows: np.ndarray,
        labels: np.ndarray,
        read: Callable[[int], memoryview],
        done: Callable[[int], object],
    ) -> list[Shard]:
        """Writes the pictures `rows` in this order. `read(row)` gives the pixels of its fields in turn; `done(n)` counts."""
        shards: list[Shard] = []
        for first, last in self._cut(rows):
            name, digest, size = f"{split}-{len(shards):05d}.tar", hashlib.sha256(), len(END)
            with (self.folder / name).open("wb") as file:
                for key in range(first, last):
                    row = int(rows[key])
                    for block in self._record(key, *self.sizes[row].tolist(), int(labels[key]), read(row)):
                        digest.update(block)
                        size += file.write(block)
                    done(1)
                digest.update(END)
                file.write(END)
            sizes = ["{}x{}".format(*size) for size in self.sizes[rows[first:last]].tolist()]
            shards.append(Shard(name=name, split=split, count=last - first, bytes=size, sha256=digest.hexdigest(), sizes=sizes))
        return shards

    def _cut(self, rows: np.ndarray) -> list[tuple[int, int]]:
        """First and end of the pictures of each shard."""
        ends, size = [0], len(END)
        for key, row in enumerate(rows.tolist()):
            length = record_places(self.parts, *self.sizes[row].tolist(), self.classes)[0]
            if size + length > self.shard_bytes and key > ends[-1]:
                ends.append(key)
                size = len(END)
            size += length
        return [pair for pair in zip(ends, [*ends[1:], len(rows)], strict=True) if pair[0] < pair[1]]

    def _record(self, key: int, width: int, height: int, label: int, pixels: memoryview) -> list[bytes | memoryview]:
        """The blocks of a record in turn."""
        blocks: list[bytes | memoryview] = []
        first = 0
        for name, part in self.parts.items():
            header, size = netpbm_header(*part.size(width, height), part.channels), part.bytes(width, height)
            suffix = "pgm" if part.channels == 1 else "ppm"
            blocks += self._file(key, f"{name}.{suffix}" if len(self.parts) > 1 else suffix, header, pixels[first : first + size])
            first += size
        if self.classes:
            digits = decimal(np.array([label]), self.layout.label_digits).tobytes()
            blocks += self._file(key, "cls", digits, memoryview(b""))
        return blocks

    @staticmethod
    def _file(key: int, suffix: str, start: bytes, rest: memoryview) -> list[bytes | memoryview]:
        size = len(start) + len(rest)
        header = np.frombuffer(tar_header(suffix.encode(), size), np.uint8)[None].copy()
        name_records(header, decimal(np.array([key]), KEY_DIGITS))
        return [header.tobytes() + start, rest, bytes(padded(size) - size)]


class WholePictures:
    """The whole pictures of mapped shards: crops of them by field, and labels. Raises DataError where sizes do not fit."""

    def __init__(self, maps: Sequence[np.ndarray], shards: Sequence[Shard], manifest: Manifest) -> None:
        self.classes, self.digits = len(manifest.classes), manifest.layout.label_digits
        self.parts = {name: Part(field.channels, field.scale) for name, field in manifest.records.items()}
        self._maps = [np.asarray(one) for one in maps]  # plain arrays, of which a slice costs less than of a mapping
        self._owners: list[int] = []
        self._starts: dict[str, list[int]] = {name: [] for name in self.parts}
        self._labels: list[int] = []
        sizes = []
        for owner, shard in enumerate(shards):
            start = 0
            for width, height in (map(int, size.split("x")) for size in shard.sizes):
                length, places, label = record_places(self.parts, width, height, self.classes)
                self._owners.append(owner)
                self._labels.append(start + label)
                for name, place in places.items():
                    self._starts[name].append(start + place)
                sizes.append((height, width))
                start += length
            if start + len(END) != shard.bytes:
                raise DataError(f"{shard.name}: its {shard.bytes} bytes are not those of the sizes in the manifest; {REMEDY}")
        self.sizes, unit = np.array(sizes, dtype=np.int64), unit_of(self.parts)
        if (self.sizes < manifest.resolution).any() or (self.sizes % unit).any() or manifest.resolution % unit:
            raise DataError(f"sizes of pictures are less than {manifest.resolution} px, or no multiples of {unit}; {REMEDY}")
        self.grid = Grid(self.sizes, manifest.resolution, unit)

    def pixels(self, name: str, number: int) -> np.ndarray:
        """A field of a whole picture, uint8 [H, W, C], mapped."""
        part, (height, width) = self.parts[name], self.sizes[number].tolist()
        start = self._starts[name][number]
        wide, high = part.size(width, height)
        flat = self._maps[self._owners[number]][start : start + part.bytes(width, height)]
        return flat.reshape(high, wide, part.channels)

    def read(self, name: str, places: Places, side: int, words: np.ndarray | None = None, cut: Crops = AS_THEY_ARE) -> np.ndarray:
        """Squares of `side` pixels of the imitated field, uint8 [N, C, side // scale, side // scale].

        `words` [N] mirror and turn them, where `cut` has it.
        """
        part = self.parts[name]
        own = side // part.scale
        out = np.empty((len(places.pictures), own, own, part.channels), dtype=np.uint8)
        tops, lefts = places.tops // part.scale, places.lefts // part.scale
        for row, (number, top, left) in enumerate(zip(places.pictures.tolist(), tops.tolist(), lefts.tolist(), strict=True)):
            square = self.pixels(name, number)[top : top + own, left : left + own]
            out[row] = square if words is None else moved(square, int(words[row]), cut)
        return np.ascontiguousarray(out.transpose(0, 3, 1, 2))

    def labels(self, folder: Path) -> np.ndarray:
        """Class indices of all records, int64 [len]; a picture's once for each that it counts as."""
        powers = 10 ** np.arange(self.digits - 1, -1, -1)
        places = zip(self._owners, self._labels, strict=True)
        digits = np.stack([self._maps[owner][start : start + self.digits] for owner, start in places])
        labels = (digits.astype(np.int64) - ZERO) @ powers
        if labels.min() < 0 or labels.max() >= self.classes:
            raise DataError(f"{folder}: damaged, it holds labels outside its {self.classes} classes; {REMEDY}")
        return np.repeat(labels, self.grid.counts())
