"""IDX files, the format of MNIST and Fashion-MNIST (Y. LeCun's description of it), plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from atelier.data.errors import DataError
from atelier.data.sources.base import ArrayChunk, ArraySource

UNSIGNED_BYTE = 8


@dataclass(frozen=True)
class Part:
    """A file of images, its shape (N, H, W) or (N, H, W, 3), and its labels."""

    path: Path
    shape: tuple[int, ...]
    labels: list[str] | None


class IdxSource(ArraySource):
    """Every `*images*` file of a folder, or one such file.

    Labels are paired by name: train-images-idx3-ubyte with train-labels-idx1-ubyte. A file that lies there both plain and gzipped
    is taken once, plain.
    """

    kind = "idx"
    description = "IDX files"

    def __init__(self, path: str, labels: bool, section: str) -> None:
        root = Path(path)
        if root.is_dir():
            files = sorted(file for file in root.iterdir() if "images" in file.name and not file.name.startswith("."))
            files = [file for file in files if file.suffix != ".gz" or file.with_suffix("") not in files]
        else:
            files = [root] if root.is_file() else []
        if not files:
            raise DataError(
                f"{section}.path {path!r} holds no IDX images such as train-images-idx3-ubyte.gz; correct the path"
                " (Debian's dataset-fashion-mnist puts them into /usr/share/datasets/fashion-mnist)"
            )
        self._parts = [self._part(file, labels, section) for file in files]
        self.count = sum(part.shape[0] for part in self._parts)

    def _part(self, file: Path, labels: bool, section: str) -> Part:
        with _opened(file) as stream:
            shape = _shape(stream, file)
        if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3):
            raise DataError(f"{file}: IDX of shape {shape} holds no images; expected (N, H, W) or (N, H, W, 3)")
        if not labels:
            return Part(file, shape, None)
        stem = file.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
        for partner in (file.with_name(stem), file.with_name(stem + ".gz")):
            if partner.is_file():
                break
        else:
            raise DataError(f"{file}: its labels {stem}[.gz] are missing; put them beside it or set {section}.labels: false")
        with _opened(partner) as stream:
            counted = _shape(stream, partner)
            if counted != (shape[0],):
                raise DataError(f"{partner}: labels of shape {counted} for {shape[0]} images in {file.name}; fetch both again")
            return Part(file, shape, [str(value) for value in _exactly(stream, shape[0], partner)])

    def chunks(self, images: int) -> Iterator[ArrayChunk]:
        for part in self._parts:
            with _opened(part.path) as stream:
                _shape(stream, part.path)
                for first in range(0, part.shape[0], images):
                    taken = min(images, part.shape[0] - first)
                    values = _exactly(stream, taken * math.prod(part.shape[1:]), part.path)
                    pixels = np.frombuffer(values, np.uint8).reshape(taken, *part.shape[1:])
                    labels = part.labels[first : first + taken] if part.labels is not None else None
                    yield ArrayChunk(part.path.name, first, pixels, labels)
                if _read(stream, 1, part.path):
                    raise DataError(
                        f"{part.path}: goes on after the {part.shape[0]} images that its header states; fetch it again"
                    )


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
    try:
        return stream.read(size)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{file}: damaged gzip ({error}); fetch it again") from error
