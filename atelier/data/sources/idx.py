"""IDX files, the format of MNIST and Fashion-MNIST (Y. LeCun's description of it), plain or gzipped."""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from atelier.data.errors import DataError
from atelier.data.sources.base import CHUNK_BYTES, ArrayChunk, ArraySource, spread

UNSIGNED_BYTE = 8


@dataclass(frozen=True)
class Part:
    """A file of images, its shape (N, H, W) or (N, H, W, 3), and the file of its labels."""

    path: Path
    shape: tuple[int, ...]
    labels: Path | None


class IdxSource(ArraySource):
    """Every `*images*` file of a folder, or one such file.

    Labels are paired by name: train-images-idx3-ubyte with train-labels-idx1-ubyte. A file that lies there both plain and gzipped
    is taken once, plain.
    """

    kind = "idx"
    description = "IDX files"

    def __init__(self, path: str, labels: bool, max_pixels: int, section: str) -> None:
        root = Path(path)
        self._max_pixels, self._section = max_pixels, section
        if root.is_dir():
            found = (file for file in root.iterdir() if "images" in file.name and not file.name.startswith("."))
            files = sorted(file for file in found if file.is_file())
            files = [file for file in files if file.suffix != ".gz" or file.with_suffix("") not in files]
        else:
            files = [root] if root.is_file() else []
        if not files:
            raise DataError(
                f"{section}.path {path!r} holds no IDX images such as train-images-idx3-ubyte.gz; correct the path"
                " (Debian's dataset-fashion-mnist puts them into /usr/share/datasets/fashion-mnist)"
            )
        self._parts = [self._part(file, labels) for file in files]
        self.count = sum(part.shape[0] for part in self._parts)

    def _part(self, file: Path, labels: bool) -> Part:
        with _opened(file) as stream:
            shape = _shape(stream, file)
        if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3) or 0 in shape:
            raise DataError(f"{file}: IDX of shape {shape} holds no images; expected (N, H, W) or (N, H, W, 3)")
        if shape[1] * shape[2] > self._max_pixels:
            raise DataError(
                f"{file}: its header states images of {shape[2]} x {shape[1]}, more pixels than {self._section}.max_pixels = "
                f"{self._max_pixels}; fetch it again, or raise that number"
            )
        if not labels:
            return Part(file, shape, None)
        stem = file.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
        for partner in (file.with_name(stem), file.with_name(stem + ".gz")):
            if partner.is_file():
                break
        else:
            raise DataError(
                f"{file}: its labels {stem}[.gz] are missing; put them beside it or set {self._section}.labels: false"
            )
        with _opened(partner) as stream:
            counted = _shape(stream, partner)
            if counted != (shape[0],):
                raise DataError(f"{partner}: labels of shape {counted} for {shape[0]} images in {file.name}; fetch both again")
        return Part(file, shape, partner)

    def listing(self) -> Iterator[tuple[str, int]]:
        return ((part.path.name, part.shape[0]) for part in self._parts)

    def chunks(self, images: int, share: range) -> Iterator[ArrayChunk]:
        for part, rows in zip(self._parts, spread(share, [part.shape[0] for part in self._parts]), strict=True):
            if not rows:
                continue
            starts = rows[:: max(1, min(images, CHUNK_BYTES // math.prod(part.shape[1:])))]
            labels = _pieces(part.labels, rows, starts.step) if part.labels else itertools.repeat(None, len(starts))
            for first, pixels, values in zip(starts, _pieces(part.path, rows, starts.step), labels, strict=True):
                names = None if values is None else [str(value) for value in values]
                yield ArrayChunk(part.path.name, first, pixels, names)


def _pieces(file: Path, rows: range, step: int) -> Iterator[np.ndarray]:
    """The images or labels `rows`, `step` at a time. Raises DataError unless the file is as long as stated.

    Whoever takes the last row looks at what is behind it. What is before the first one is skipped, if gzipped by unpacking it.
    """
    with _opened(file) as stream:
        shape = _shape(stream, file)
        with _intact(file):
            stream.seek(rows.start * math.prod(shape[1:]), io.SEEK_CUR)
        for first in rows[::step]:
            taken = min(step, rows.stop - first)
            values = _exactly(stream, taken * math.prod(shape[1:]), file)
            yield np.frombuffer(values, np.uint8).reshape(taken, *shape[1:])
        if rows.stop == shape[0] and _read(stream, 1, file):
            kind = "images" if shape[1:] else "labels"
            raise DataError(f"{file}: goes on after the {shape[0]} {kind} that its header states; fetch it again")


def _opened(file: Path) -> BinaryIO:
    try:
        stream = file.open("rb")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); check its permissions") from error
    gzipped = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    return gzip.GzipFile(fileobj=stream) if gzipped else stream  # type: ignore[return-value]


def _shape(stream: BinaryIO, file: Path) -> tuple[int, ...]:
    """Reads the header: two zero bytes, the type, the number of dimensions, then each of them as a big-endian uint32."""
    zeros, kind, dimensions = struct.unpack(">HBB", _exactly(stream, 4, file))
    if zeros or kind != UNSIGNED_BYTE or not dimensions:
        raise DataError(f"{file}: not an IDX file of unsigned bytes; fetch it again")
    return struct.unpack(f">{dimensions}I", _exactly(stream, 4 * dimensions, file))


def _exactly(stream: BinaryIO, size: int, file: Path) -> bytes:
    content = _read(stream, size, file)
    if len(content) < size:
        raise DataError(f"{file}: ends too early; fetch it again")
    return content


def _read(stream: BinaryIO, size: int, file: Path) -> bytes:
    with _intact(file):
        return stream.read(size)


@contextlib.contextmanager
def _intact(file: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{file}: damaged gzip ({error}); fetch it again") from error
