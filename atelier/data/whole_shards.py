"""Shards of whole pictures as packing writes them, one picture in memory at a time; atelier.data.whole says what they hold."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np

from atelier.config.data import DataSettings
from atelier.data.fields import record_fields
from atelier.data.manifest import Shard
from atelier.data.process import size_line
from atelier.data.shards import END, KEY_DIGITS, decimal, name_records, netpbm_header, padded, tar_header
from atelier.data.whole import WholeField, WholeFields, record_places, whole_layout


def whole_fields(settings: DataSettings) -> WholeFields:
    """The fields of the records of a set."""
    return {field.name: WholeField(field.channels, field.scale) for field in record_fields(settings)}


def lengths_of(sizes: array[int], fields: WholeFields) -> np.ndarray:
    """Bytes of processed whole pictures, int64 [N]; `sizes` are the width and the height of each in turn."""
    pairs = zip(sizes[::2], sizes[1::2], strict=True)
    each = [len(size_line(*pair)) + sum(field.bytes(*pair) for field in fields.values()) for pair in pairs]
    return np.array(each, dtype=np.int64)


class WholeWriter:
    """Writes one split after the other into shards of at most `shard_bytes`, or of one picture that is larger.

    `sizes` int [N, 2] are the (width, height) of every picture by row.
    """

    def __init__(self, folder: Path, fields: WholeFields, sizes: np.ndarray, classes: int, shard_bytes: int) -> None:
        self.folder, self.fields, self.sizes, self.classes, self.shard_bytes = folder, fields, sizes, classes, shard_bytes
        self.layout, self.places = whole_layout(list(fields), classes)

    def write(
        self, split: str, rows: np.ndarray, labels: np.ndarray, read: Callable[[int], np.ndarray], done: Callable[[int], object]
    ) -> list[Shard]:
        """Writes the pictures `rows` in this order. `read(row)` gives what processing made of one, as bytes; `done(n)` counts."""
        shards: list[Shard] = []
        for first, last in self._cut(rows):
            name, digest, size = f"{split}-{len(shards):05d}.tar", hashlib.sha256(), len(END)
            with (self.folder / name).open("wb") as file:
                for key in range(first, last):
                    row = int(rows[key])
                    width, height = self.sizes[row].tolist()
                    for block in self._record(key, width, height, int(labels[key]), read(row)):
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
            width, height = self.sizes[row].tolist()
            length = record_places(self.fields, width, height, self.classes)[0]
            if size + length > self.shard_bytes and key > ends[-1]:
                ends.append(key)
                size = len(END)
            size += length
        return [pair for pair in zip(ends, [*ends[1:], len(rows)], strict=True) if pair[0] < pair[1]]

    def _record(self, key: int, width: int, height: int, label: int, record: np.ndarray) -> list[bytes | memoryview]:
        """The blocks of a record in turn."""
        blocks: list[bytes | memoryview] = []
        pixels, first = record.data, len(size_line(width, height))
        for name, field in self.fields.items():
            header, size = netpbm_header(*field.size(width, height), field.channels), field.bytes(width, height)
            suffix = "pgm" if field.channels == 1 else "ppm"
            blocks += self._file(
                key, f"{name}.{suffix}" if len(self.fields) > 1 else suffix, header, pixels[first : first + size]
            )
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
