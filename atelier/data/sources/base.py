"""The interface of sources."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import numpy as np
from PIL import Image

from atelier.data.errors import Rejected
from atelier.data.process import Content, Contents

CHUNK_BYTES = 16 * 2**20  # of unprocessed images that travel together


@dataclass(frozen=True)
class Item:
    """One record as its source holds it: a picture, or its fields by name.

    A picture is encoded bytes, decoded pixels, or the reason why there is neither; captions are a list of str, recordings bytes
    by what messages call them. The name is relative to the source, the same on every machine. The label is the class name, None
    where the source has none. held_out: whether the source itself keeps it out of training.
    """

    name: str
    content: Content | Contents
    label: str | None
    held_out: bool = False


class Source(ABC):
    """A set of raw images in a fixed order, cut into chunks that any process can turn into items. A source can be pickled."""

    kind: str  # as in params.yaml
    description: str  # one line, the same on every machine
    count: int  # images, before anything is rejected
    facts: Mapping[str, str] = MappingProxyType({})  # what else the manifest tells of it, the same on every machine

    @abstractmethod
    def listing(self) -> Iterator[tuple[str, int]]:
        """Name and size (bytes or images) of each file or array that it reads, in order, the same on every machine."""

    @abstractmethod
    def chunks(self, images: int, share: range) -> Iterator[Any]:
        """Cuts the images at the positions `share` into picklable chunks of at most `images` images and about CHUNK_BYTES.

        Of what lies outside the share no more is read than the format demands. Runs in one process only.
        """

    @abstractmethod
    def items(self, chunk: Any) -> Iterator[Item]:
        """The images of one chunk. Runs in any process."""

    def fingerprint(self) -> str:
        """sha256 of the listing: tells whether two processes see the same source, without reading an image."""
        listed = hashlib.sha256()
        for name, size in self.listing():
            listed.update(f"{name}\0{size}\n".encode())
        return listed.hexdigest()


def spread(share: range, counts: Iterable[int]) -> Iterator[range]:
    """Which images of each file are in the share, where the files hold `counts` images one after the other. May be none."""
    first = 0
    for count in counts:
        yield range(min(max(share.start - first, 0), count), min(max(share.stop - first, 0), count))
        first += count


class Sized(Protocol):
    """What is stored, with its size in bytes."""

    @property
    def size(self) -> int: ...


Stored = TypeVar("Stored", bound=Sized)


def by_size(entries: Iterable[Stored], images: int, max_bytes: int) -> Iterator[list[Stored]]:
    """Cuts what is stored into chunks of at most `images` and about CHUNK_BYTES; of one above `max_bytes` nothing is read."""
    chunk: list[Stored] = []
    size = 0
    for entry in entries:
        if chunk and (len(chunk) == images or size + entry.size > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(entry)
        size += min(entry.size, max_bytes)
    if chunk:
        yield chunk


def too_large(size: int) -> Rejected:
    """Why an encoded image of this size is not read."""
    return Rejected(f"file of {size} bytes, more than any image of max_pixels needs")


@dataclass(frozen=True)
class ArrayChunk:
    """Decoded images of one size, uint8 [N, H, W], with their labels and the name of the first."""

    origin: str
    first: int
    images: np.ndarray
    labels: list[str] | None


class ShippedSource(Source):
    """A source whose chunks hold the images themselves, so that a worker needs nothing else of it."""

    def __getstate__(self) -> dict[str, object]:
        return {}


class ArraySource(ShippedSource):
    """A source whose chunks are arrays."""

    def items(self, chunk: ArrayChunk) -> Iterator[Item]:
        for offset, pixels in enumerate(chunk.images):
            label = chunk.labels[offset] if chunk.labels is not None else None
            yield Item(f"{chunk.origin}#{chunk.first + offset}", Image.fromarray(pixels), label)


class ListSource(ShippedSource):
    """A source whose chunks are lists of items."""

    def items(self, chunk: list[Item]) -> Iterator[Item]:
        return iter(chunk)
