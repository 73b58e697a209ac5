"""The shards: WebDataset-compatible tar files whose bytes depend on images, labels and order alone.

A sample is `000000000.pgm` (`.ppm` in color), of several fields `000000000.FIELD.ppm` for each, and, with labels,
`000000000.cls`. Of captions and recordings it has `000000000.FIELD.npy`: their rows in the table FIELD.npy beside the shards,
int32, with -1 behind them. Netpbm is used because it has no compressor whose bytes could vary, and because all samples then have
one size: a shard is an array of records, read by index.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from atelier.data.annotations import DIGEST_BYTES
from atelier.data.manifest import Layout, Shard, imitated

BLOCK = 512  # of the tar format
END = b"\0" * (2 * BLOCK)
KEY_DIGITS = 9
WRITE_BYTES = 4 * 2**20
ZERO = ord("0")
CHECKSUM = slice(148, 156)  # of a tar header

ROW_BYTES = 4

Reader = Callable[[np.ndarray, np.ndarray], None]
RowsByDigest = Mapping[bytes, np.ndarray]  # of a record's captions or recordings -> their rows in the table, int [most]


class File(NamedTuple):
    """The file of a field in every sample: its suffix, its header, and the bytes behind that."""

    suffix: str
    header: bytes
    size: int


def picture_file(resolution: int, channels: int) -> File:
    """A square picture."""
    header = netpbm_header(resolution, resolution, channels)
    return File("pgm" if channels == 1 else "ppm", header, resolution * resolution * channels)


def rows_file(most: int) -> File:
    """The rows of captions or recordings in their table, int32 [most]."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i4", "fortran_order": False, "shape": (most,)})
    return File("npy", header.getvalue(), most * ROW_BYTES)


def layout_of(files: Mapping[str, File], classes: int) -> tuple[Layout, dict[str, int]]:
    """The layout of every shard of such a set, and where in a record the pixels (or rows) of each field begin.

    `files` are those of each field in the order of the record; classes 0 means no labels.
    """
    places, end = {}, 0
    for name, file in files.items():
        places[name] = end + BLOCK + len(file.header)
        end = padded(places[name] + file.size)
    label = end + BLOCK if classes else 0
    digits = len(str(classes - 1)) if classes else 0
    stride = end + 2 * BLOCK if classes else end
    return Layout(stride=stride, pixels=places[imitated(places)], label=label, label_digits=digits), places


def netpbm_header(width: int, height: int, channels: int) -> bytes:
    """Header of a binary PGM (1 channel) or PPM (3 channels) with 8 bits a value."""
    return b"%s\n%d %d\n255\n" % (b"P5" if channels == 1 else b"P6", width, height)


class ShardWriter:
    """Writes one split after the other into shards of at most `shard_bytes`."""

    def __init__(
        self,
        folder: Path,
        files: Mapping[str, File],
        classes: int,
        shard_bytes: int,
        tables: Mapping[str, RowsByDigest] | None = None,
    ) -> None:
        """`files` are those of each field in the order of the record; `tables` say which rows stand for a digest."""
        self.folder, self.files, self.tables = folder, files, tables or {}
        self.layout, self.places = layout_of(files, classes)
        self._sizes = {name: DIGEST_BYTES if name in self.tables else file.size for name, file in files.items()}
        self.per_shard = max(1, (shard_bytes - len(END)) // self.layout.stride)
        self._headers: list[int] = []  # where in a record the headers of its files begin
        self._template = self._record()

    def write(self, split: str, rows: np.ndarray, labels: np.ndarray, read: Reader, done: Callable[[int], object]) -> list[Shard]:
        """Writes the records `rows` in this order. `read(rows, out)` fills out, uint8 [n, bytes of each]; `done(n)` counts."""
        shards = []
        for first in range(0, len(rows), self.per_shard):
            name = f"{split}-{first // self.per_shard:05d}.tar"
            last = min(first + self.per_shard, len(rows))
            digest = hashlib.sha256()
            with (self.folder / name).open("wb") as file:
                step = max(1, WRITE_BYTES // self.layout.stride)
                for start in range(first, last, step):
                    keys = np.arange(start, min(start + step, last))
                    records = self._records(keys, labels[keys])
                    self._fill(records, rows[keys], read)
                    block = records.tobytes()
                    digest.update(block)
                    file.write(block)
                    done(len(keys))
                digest.update(END)
                file.write(END)
            size = (last - first) * self.layout.stride + len(END)
            shards.append(Shard(name=name, split=split, count=last - first, bytes=size, sha256=digest.hexdigest()))
        return shards

    def _fill(self, records: np.ndarray, rows: np.ndarray, read: Reader) -> None:
        """Puts the pixels of every field into records [n, stride]."""
        pixels = np.empty((len(rows), sum(self._sizes.values())), np.uint8)
        read(rows, pixels)
        first = 0
        for name, size in self._sizes.items():
            values, place = pixels[:, first : first + size], self.places[name]
            if name in self.tables:
                found = [self.tables[name][digest.tobytes()] for digest in values]
                values = np.stack(found).astype("<i4").view(np.uint8)
            records[:, place : place + values.shape[1]] = values
            first += size

    def _record(self) -> np.ndarray:
        """A sample with an empty key, no pixels and no label: uint8 [stride]."""
        record = b""
        for name, (suffix, header, size) in self.files.items():
            self._headers.append(len(record))
            named = f"{name}.{suffix}" if len(self.files) > 1 else suffix
            record += tar_header(named.encode(), len(header) + size) + header
            record = record.ljust(padded(len(record) + size), b"\0")
        if self.layout.label:
            self._headers.append(len(record))
            record += tar_header(b"cls", self.layout.label_digits)
        return np.frombuffer(record.ljust(self.layout.stride, b"\0"), np.uint8)

    def _records(self, keys: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Samples with these keys and labels, still without pixels: uint8 [n, stride]."""
        records = np.tile(self._template, (len(keys), 1))
        digits = decimal(keys, KEY_DIGITS)
        for header in self._headers:
            name_records(records[:, header : header + BLOCK], digits)
        if self.layout.label:
            records[:, self.layout.label : self.layout.label + self.layout.label_digits] = decimal(
                labels, self.layout.label_digits
            )
        return records


def padded(size: int) -> int:
    """A size as whole blocks of the tar format."""
    return -(-size // BLOCK) * BLOCK


def tar_header(suffix: bytes, size: int) -> bytes:
    """POSIX ustar header (IEEE 1003.1) of a file 000000000.suffix: mode 0644, owner 0 without a name, time 0, checksum blank."""
    header = (b"0" * KEY_DIGITS + b"." + suffix).ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2
    header += b"%011o\0" % size + b"%011o\0" % 0 + b" " * 8 + b"0"
    return (header.ljust(257, b"\0") + b"ustar\x0000").ljust(329, b"\0").ljust(BLOCK, b"\0")


def name_records(headers: np.ndarray, digits: np.ndarray) -> None:
    """Puts the keys into headers [n, 512] and then the checksums: the sum of all bytes, in octal."""
    headers[:, :KEY_DIGITS] = digits
    sums = headers.sum(axis=1, dtype=np.int64)
    headers[:, CHECKSUM.start : CHECKSUM.start + 6] = (sums[:, None] >> np.arange(15, -1, -3)) % 8 + ZERO
    headers[:, CHECKSUM.start + 6] = 0


def decimal(values: np.ndarray, digits: int) -> np.ndarray:
    """ASCII digits uint8 [n, digits] of non-negative integers, with leading zeros."""
    return (values[:, None] // 10 ** np.arange(digits - 1, -1, -1) % 10 + ZERO).astype(np.uint8)
