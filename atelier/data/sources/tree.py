"""Trees of image files: a folder, a zip, an S3 prefix. The first folder of a name, where there is one, is the class."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

from atelier.data.errors import DataError, Rejected
from atelier.data.sources.archive import ZipStorage
from atelier.data.sources.base import CHUNK_BYTES, Item, Source
from atelier.storage import Damaged, Entry, LocalStorage, S3Storage, Storage, hidden

DESCRIPTIONS = {"folder": "folder of image files", "zip": "zip of image files", "s3": "S3 prefix of image files"}


def open_tree(kind: str, path: str, max_bytes: int, section: str) -> TreeSource:
    """Opens a folder, zip or s3 source. Raises DataError or StorageError naming the path and what to change."""
    storage: Storage
    if kind == "s3":
        if not path.startswith("s3://"):
            raise DataError(f"{section}.path {path!r} is no S3 prefix; write s3://bucket/prefix, or {section}.source: folder")
        storage = S3Storage(path)
    elif path.startswith("s3://"):
        raise DataError(f"{section}.path {path!r} is an S3 prefix; set {section}.source: s3")
    elif kind == "folder":
        if not Path(path).is_dir():
            other = f"it is a file: set {section}.source to zip, idx or parquet" if Path(path).is_file() else "correct the path"
            raise DataError(f"{section}.path {path!r}: no such folder; {other}, or bring it with `dvc pull`")
        storage = LocalStorage(Path(path))
    else:
        storage = ZipStorage(path, section)
    return TreeSource(kind, path, storage, max_bytes, section)


class TreeSource(Source):
    """Every file of a tree but hidden ones."""

    def __init__(self, kind: str, path: str, storage: Storage, max_bytes: int, section: str) -> None:
        self.kind = kind
        self.description = DESCRIPTIONS[kind]
        self.storage = storage
        self.max_bytes = max_bytes
        self._entries = sorted((entry for entry in storage.entries() if not hidden(entry.name)), key=lambda entry: entry.name)
        self.count = len(self._entries)
        if not self._entries:
            raise DataError(
                f"{section}.path {path!r} holds no files; put images there, in one sub-folder for each class if they have classes"
            )

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_entries": []}  # a worker needs only the entries of its chunks

    def listing(self) -> Iterator[tuple[str, int]]:
        return ((entry.name, entry.size) for entry in self._entries)

    def chunks(self, images: int, share: range) -> Iterator[list[Entry]]:
        chunk: list[Entry] = []
        size = 0
        for entry in self._entries[share.start : share.stop]:
            if chunk and (len(chunk) == images or size + entry.size > CHUNK_BYTES):
                yield chunk
                chunk, size = [], 0
            chunk.append(entry)
            size += min(entry.size, self.max_bytes)
        if chunk:
            yield chunk

    def items(self, chunk: list[Entry]) -> Iterator[Item]:
        small = [entry for entry in chunk if entry.size <= self.max_bytes]
        for entry in chunk:
            if entry.size > self.max_bytes:
                yield Item(
                    entry.name,
                    Rejected(f"file of {entry.size} bytes, more than any image of max_pixels needs"),
                    _label(entry.name),
                )
        for entry, content in zip(small, self.storage.read(small), strict=True):
            yield Item(entry.name, Rejected(content.reason) if isinstance(content, Damaged) else content, _label(entry.name))


def _label(name: str) -> str | None:
    """The class, composed as Unicode's NFC: macOS stores the same name decomposed."""
    folder, slash, _ = name.partition("/")
    return unicodedata.normalize("NFC", folder) if slash else None
