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
    """The images of several files as one sequence. What is read is checked against `digests`, the sha256 of each image."""

    def __init__(self, files: list[PixelFile], pixel_bytes: int, digests: bytearray) -> None:
        self.files = files
        self.pixel_bytes = pixel_bytes
        self.digests = digests
        self._starts = np.cumsum([0, *(file.count for file in files)])

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Fills out, uint8 [n, bytes of an image]. Plain reads: a mapping of the whole file would count as memory in use."""
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        places = rows - self._starts[numbers]
        for row, number, place, target in zip(rows.tolist(), numbers.tolist(), places.tolist(), out, strict=True):
            source = self.files[number]
            size = os.preadv(source.file.fileno(), [target], place * self.pixel_bytes)
            digest = self.digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES]
            if size != self.pixel_bytes or hashlib.sha256(target).digest() != digest:
                raise DataError(f"{source.name}: image {place} is not what was written there; check its disk, prepare it again")
