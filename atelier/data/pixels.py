"""Processed images in files, read by row."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import IO

import numpy as np

from atelier.data.errors import DataError

DIGEST_BYTES = 32


@dataclass(frozen=True)
class PixelFile:
    """An open file of `count` images, one after the other; the name is for messages."""

    name: str
    file: IO[bytes]
    count: int


class Pixels:
    """The images of several files as one sequence. What is read is checked against `digests`, the sha256 of each image.

    `lengths` int64 [N] are the bytes of each, or `pixel_bytes` those of all.
    """

    def __init__(self, files: list[PixelFile], pixel_bytes: int, digests: bytearray, lengths: np.ndarray | None = None) -> None:
        self.files = files
        self.pixel_bytes = pixel_bytes
        self.digests = digests
        self._starts = np.cumsum([0, *(file.count for file in files)])
        self._ends = None if lengths is None else np.concatenate([[0], np.cumsum(lengths)])

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Fills out, uint8 [n, bytes of an image]. Plain reads: a mapping of the whole file would count as memory in use."""
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        places = rows - self._starts[numbers]
        for row, number, place, target in zip(rows.tolist(), numbers.tolist(), places.tolist(), out, strict=True):
            self._fill(target, row, self.files[number], place, place * self.pixel_bytes)

    def one(self, row: int) -> np.ndarray:
        """An image of a length of its own, uint8 [bytes]."""
        assert self._ends is not None
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        first = int(self._starts[number])
        target = np.empty(int(self._ends[row + 1] - self._ends[row]), np.uint8)
        self._fill(target, row, self.files[number], row - first, int(self._ends[row] - self._ends[first]))
        return target

    def _fill(self, target: np.ndarray, row: int, source: PixelFile, place: int, offset: int) -> None:
        filled = 0
        while filled < len(target):  # one call reads 2 GiB at most
            size = os.preadv(source.file.fileno(), [target.data[filled:]], offset + filled)
            if not size:
                break
            filled += size
        digest = self.digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES]
        if filled != len(target) or hashlib.sha256(target.data).digest() != digest:
            raise DataError(f"{source.name}: image {place} is not what was written there; check its disk, prepare it again")
