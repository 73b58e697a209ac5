"""PNG files written a few rows at a time, with 8 or 16 bits a value: a large picture is never whole in memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import IO

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels: gray, gray and alpha, color, color and alpha
PAETH = 4  # a filter of the format, which predicts a byte from those on the left, above, and above on the left
ROWS = 64  # that are filtered at once
PROFILE = b"ICC profile"  # its name, which nobody reads


class PngWriter:
    """A PNG of `width` x `height` pixels in an open file: `write` takes its rows in turn, `close` ends it.

    `bits` are 8 or 16, `channels` 1 to 4 (2 and 4 with alpha), `texts` ASCII by keyword, `profile` that of the colors,
    `international` texts of any letters by keyword.
    """

    def __init__(
        self,
        file: IO[bytes],
        width: int,
        height: int,
        channels: int,
        bits: int,
        texts: Mapping[str, str],
        profile: bytes | None,
        international: Mapping[str, str] | None = None,
    ) -> None:
        self._file, self._pixel = file, channels * bits // 8
        self._type = np.dtype(">u2" if bits == 16 else "u1")
        self._above = np.zeros((1, self._pixel + width * self._pixel), np.int16)  # the last row, behind a pixel of zeros
        self._compressor = zlib.compressobj()
        file.write(SIGNATURE)
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, COLOR_TYPES[channels], 0, 0, 0))
        if profile:
            self._chunk(b"iCCP", PROFILE + b"\0\0" + zlib.compress(profile))
        for keyword, text in texts.items():
            self._chunk(b"tEXt", keyword.encode("ascii") + b"\0" + text.encode("ascii"))
        for keyword, text in (international or {}).items():
            self._chunk(b"iTXt", keyword.encode("ascii") + bytes(5) + text.encode("utf-8"))  # not compressed, in no language

    def write(self, rows: np.ndarray) -> None:
        """The next rows, uint8 or uint16 [n, width, channels]."""
        for first in range(0, len(rows), ROWS):
            part = np.ascontiguousarray(rows[first : first + ROWS].astype(self._type))
            filtered = self._filtered(part.view(np.uint8).reshape(len(part), -1))
            if compressed := self._compressor.compress(filtered):
                self._chunk(b"IDAT", compressed)

    def close(self) -> None:
        """Writes what is left."""
        self._chunk(b"IDAT", self._compressor.flush())
        self._chunk(b"IEND", b"")

    def _filtered(self, rows: np.ndarray) -> bytes:
        """Each row behind its filter: the bytes uint8 [n, width * pixel] less their prediction (PNG 1.2, section 6.6)."""
        padded = np.pad(rows, ((0, 0), (self._pixel, 0))).astype(np.int16)
        above = np.concatenate([self._above, padded[:-1]])
        self._above = padded[-1:]
        left, up, corner = padded[:, : -self._pixel], above[:, self._pixel :], above[:, : -self._pixel]
        to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
        nearest = np.where(to_up <= to_corner, up, corner)
        predicted = np.where((to_left <= to_up) & (to_left <= to_corner), left, nearest)
        kinds = np.full((len(rows), 1), PAETH, np.uint8)
        return np.concatenate([kinds, (padded[:, self._pixel :] - predicted).astype(np.uint8)], axis=1).tobytes()

    def _chunk(self, kind: bytes, content: bytes) -> None:
        self._file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)))
