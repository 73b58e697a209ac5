"""The files of a TrainJob in S3: what the launching task and the nodes, which share no disk, hand to each other.

Below the job's prefix are the folders `data_0` (and so on, of several sets), `base` (of fine-tuning) and `checkpoint`, and notes
in JSON: `job` says what to train and indexes all but the last, `alive` changes as long as somebody waits for the end, `failed`
holds the error that ended the training, `checkpoint` indexes the folder of that name and is written last. An index maps a file's
path in its folder to its size in bytes and its sha256.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from atelier.io.files import canonical_json, parse_json, sha256_file
from atelier.io.progress import each
from atelier.io.storage import S3_CONNECTIONS, Entry, S3Storage, StorageError

DATA, BASE, CHECKPOINT = "data", "base", "checkpoint"
JOB, FAILED, ALIVE = "job", "failed", "alive"

Index = dict[str, dict[str, Any]]


def index(folder: Path) -> Index:
    """The index of every file below a folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): {"size": file.stat().st_size, "sha256": sha256_file(file)} for file in files}


class JobFiles:
    """The files below the prefix `uri` of one job. Methods raise StorageError."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self._notes = S3Storage(f"{self.uri}/notes")  # by themselves, so that looking for one lists no others

    def note(self, name: str) -> dict[str, Any] | None:
        """A note; None where it was not written."""
        for entry in self._notes.entries():
            if entry.name == f"{name}.json":
                (content,) = self._notes.read([entry])
                return parse_json(content)  # type: ignore[arg-type]
        return None

    def write(self, name: str, note: dict[str, Any]) -> None:
        """Writes a note."""
        self._notes.put(f"{name}.json", io.BytesIO(canonical_json(note).encode()))

    def forget(self, name: str) -> None:
        """Removes a note, if it is there."""
        self._notes.remove([f"{name}.json"])

    def upload(self, folder: Path, name: str, known: Index, again: bool = False) -> None:
        """Uploads the files of an index from a folder below `name`.

        With `again`, what an earlier attempt brought there stays: for files whose content the job's name stands for.
        """
        storage = S3Storage(f"{self.uri}/{name}")
        there = {entry.name: entry.size for entry in storage.entries()} if again else {}

        def put(file: str) -> None:
            with (folder / file).open("rb") as content:
                storage.put(file, content)

        _each([file for file in known if there.get(file) != known[file]["size"]], put, f"upload {name}")

    def download(self, name: str, wanted: Index, folder: Path) -> None:
        """Downloads the files of an index into a folder and checks their content. What is there with this content stays."""
        storage = S3Storage(f"{self.uri}/{name}")

        def get(file: str) -> None:
            path, size, sha256 = folder / file, wanted[file]["size"], wanted[file]["sha256"]
            if not path.resolve().is_relative_to(folder.resolve()):
                raise StorageError(f"{self.uri}: its index names {path}, which is elsewhere; remove the prefix, then run again")
            if path.is_file() and path.stat().st_size == size and sha256_file(path) == sha256:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            storage.download(Entry(file, size, storage.prefix + file), path)
            if sha256_file(path) != sha256:
                path.unlink()
                raise StorageError(f"{self.uri}/{name}/{file}: was changed after the upload; remove it, then run again")

        _each([*wanted], get, f"download {name}")

    def clear(self) -> None:
        """Removes every object of the job, the notes first."""
        for storage in (self._notes, S3Storage(self.uri)):
            storage.remove([entry.name for entry in storage.entries()])


def _each(files: list[str], do: Callable[[str], None], title: str) -> None:
    with ThreadPoolExecutor(S3_CONNECTIONS) as threads:
        for _ in each(threads.map(do, files), title, len(files), "files"):
            continue
