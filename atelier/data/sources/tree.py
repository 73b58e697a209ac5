"""Trees of image files: a folder, a zip, an S3 prefix. What their folders mean is said by folders.py."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path

from atelier.data.errors import DataError, Rejected
from atelier.data.process import Content, Contents
from atelier.data.sources.archive import ZipStorage
from atelier.data.sources.base import Item, Source, by_size, too_large
from atelier.data.sources.folders import Folders
from atelier.io.storage import Damaged, Entry, LocalStorage, S3Storage, Storage, hidden

DESCRIPTIONS = {"folder": "folder of image files", "zip": "zip of image files", "s3": "S3 prefix of image files"}


def open_storage(kind: str, path: str, section: str) -> Storage:
    """The files of a folder, zip or s3 source. Raises DataError or StorageError naming the path and what to change."""
    if kind == "s3":
        if not path.startswith("s3://"):
            raise DataError(f"{section}.path {path!r} is no S3 prefix; write s3://bucket/prefix, or {section}.source: folder")
        return S3Storage(path)
    if path.startswith("s3://"):
        raise DataError(f"{section}.path {path!r} is an S3 prefix; set {section}.source: s3")
    if kind == "folder":
        if not Path(path).is_dir():
            kinds = "zip, idx, parquet, webdataset or lmdb"
            other = f"it is a file: set {section}.source to {kinds}" if Path(path).is_file() else "correct the path"
            raise DataError(f"{section}.path {path!r}: no such folder; {other}, or bring it with `dvc pull`")
        return LocalStorage(Path(path))
    return ZipStorage(path, section)


class Tree(Source):
    """Files in folders, but hidden ones."""

    def __init__(self, kind: str, path: str, max_bytes: int, section: str, split: str = "draw") -> None:
        """`split` is as in the settings. Raises DataError or StorageError, also where it does not fit the folders."""
        self.kind = kind
        self.description = DESCRIPTIONS[kind]
        self.storage = open_storage(kind, path, section)
        self.max_bytes = max_bytes
        where = f"{section}.path {path!r}"
        entries = sorted((one for one in self.storage.entries() if not hidden(one.name)), key=lambda entry: entry.name)
        if not entries:
            raise DataError(f"{where} holds no files; put images there, in one sub-folder for each class if they have classes")
        names = self._arrange(entries)
        self.count = len(names)
        self._folders = Folders.of(names)
        self.facts = self._folders.facts()
        self._check_split(where, section, split)

    @abstractmethod
    def _arrange(self, entries: list[Entry]) -> list[str]:
        """Keeps the files, in order of their names, and returns the names of the items."""

    def _check_split(self, where: str, section: str, split: str) -> None:
        """Never silently: folders train and val are neither taken for classes nor for a split unless the settings say so."""
        folders = self._folders
        parts = ", ".join((*folders.training, *folders.held_out))
        if folders.given and split == "draw":
            raise DataError(
                f"{where} holds the folders {parts}: a split, no classes; set {section}.split: given and {section}.holdout: 0.0 "
                f"to hold out {', '.join(folders.held_out)} as it stands, or {section}.split: pool to draw the held-out images "
                "from all of them (if they are classes, rename them)"
            )
        if not folders.given and split != "draw":
            raise DataError(
                f"{where} has no split in its folders, one of training images (train) and one beside it (val, valid, validation, "
                f"test, ...), as {section}.split: {split} asks for; set {section}.split: draw, or correct the path"
            )
        if folders.beside:
            raise DataError(
                f"{where}: {', '.join(folders.beside)} lies in none of the folders {parts} of its split; move into one of them "
                "what belongs there, and the rest away"
            )

    def _item(self, name: str, content: Content | Contents) -> Item:
        return Item(name, content, self._folders.label(name), self._folders.is_held_out(name))


class TreeSource(Tree):
    """Every file of a tree is an image."""

    def _arrange(self, entries: list[Entry]) -> list[str]:
        self._entries = entries
        return [entry.name for entry in entries]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_entries": []}  # a worker needs only the entries of its chunks

    def listing(self) -> Iterator[tuple[str, int]]:
        return ((entry.name, entry.size) for entry in self._entries)

    def chunks(self, images: int, share: range) -> Iterator[list[Entry]]:
        return by_size(self._entries[share.start : share.stop], images, self.max_bytes)

    def items(self, chunk: list[Entry]) -> Iterator[Item]:
        small = [entry for entry in chunk if entry.size <= self.max_bytes]
        for entry in chunk:
            if entry.size > self.max_bytes:
                yield self._item(entry.name, too_large(entry.size))
        for entry, content in zip(small, self.storage.read(small), strict=True):
            yield self._item(entry.name, Rejected(content.reason) if isinstance(content, Damaged) else content)
