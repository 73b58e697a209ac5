"""Atomic writes and content hashes: what is on disk is either the old whole or the new whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from atelier.errors import AtelierError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
TRIED_BYTES = 4096
# What the folder beside the target holds while it is written.
LOCK, NEW, OLD = "lock", "new", "old"


class WriteError(AtelierError):
    """A file could not be written."""


def canonical_json(value: Any) -> str:
    """Indented JSON with sorted keys and a final newline: equal values give equal bytes. NaN and infinity are refused."""
    return json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n"


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises OSError, and ValueError as `parse_json`."""
    return parse_json(path.read_bytes())


def parse_json(content: bytes | str) -> Any:
    """The value of a JSON text. Raises ValueError for what is no JSON, or nested too deeply to be read."""
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def sha256_file(path: Path) -> str:
    """sha256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def atomic_write(path: Path, content: bytes | str) -> None:
    """Writes beside `path`, syncs, renames. Raises WriteError (disk full, no permission) and leaves the old file as it was."""
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Yields a file beside `path` that, once the block ends without an error, is synced and takes its place.

    Raises WriteError as `atomic_write`, also for what goes wrong in the block, which only writes.
    """
    path = Path(path)
    with _beside(path) as beside, _explained(path):
        with (beside / NEW).open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        (beside / NEW).replace(path)
        sync(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path, marker: str | None = None) -> Iterator[Path]:
    """Yields an empty folder that, once the block ends without an error, is synced and takes `path`'s place.

    `path` and `marker` are as in `check_output`. After an error nothing of the new folder remains and what was at `path` is
    untouched. Raises WriteError; an error of the block's own is passed on as it is, unless it says that the disk is full.
    """
    target = check_output(path, marker)
    with _beside(target) as beside:
        new, old = beside / NEW, beside / OLD
        with _explained(path):
            new.mkdir()
        with _explained(path, NO_SPACE):
            yield new
        with _explained(path):
            for file in new.rglob("*"):
                sync(file)
            sync(new)
            if target.exists():
                target.rename(old)
            new.rename(target)
            sync(target.parent)


def check_output(path: Path, marker: str | None = None) -> Path:
    """`path` without links, where `atomic_folder` may put a folder: where nothing is, or an empty folder, or an earlier output.

    An earlier output is a folder that holds a file named `marker`; without a marker, any folder. Raises WriteError for the rest,
    so that a wrong path costs nobody their files, for the folder that the process runs in, and where nothing can be written: a
    step that calls this before its work does not find that out behind it.
    """
    with _explained(path):
        target = Path(os.path.realpath(path))
        if target in (Path.cwd(), *Path.cwd().parents):
            raise WriteError(f"{path}: holds the folder that this runs in; choose another folder")
        if os.path.lexists(target) and not target.is_dir():
            raise WriteError(f"{path}: exists and is not a folder; choose another folder or remove it")
        if marker and target.exists() and not (target / marker).is_file() and any(target.iterdir()):
            raise WriteError(
                f"{path}: exists and is not an earlier output, it holds no {marker}; choose another folder or remove it"
            )
        if target.is_mount():  # it cannot be renamed, so nothing can take its place
            raise WriteError(f"{path}: something is mounted there; choose a folder in it, such as {path / 'output'}")
        _try(target.parent)
    return target


def check_file(path: Path) -> None:
    """Raises WriteError unless `atomic_write` can put a file at `path`; called before the work whose result goes there."""
    with _explained(path):
        if Path(path).is_dir():
            raise WriteError(f"{path}: is a folder; name a file, such as {Path(path) / 'output'}")
        _try(Path(os.path.realpath(path)).parent)


def check_folders(*paths: Path) -> None:
    """Raises WriteError unless files can be written into each of these folders, which may still have to be made."""
    for path in paths:
        with _explained(path):
            _try(Path(os.path.realpath(path)))


def _try(folder: Path) -> None:
    """Writes a file without a name into the folder, or into the one above it that is there. Raises OSError.

    Really written, since root passes every check of permissions, and a full disk has none.
    """
    with contextlib.suppress(FileNotFoundError):
        os.lstat(folder)  # a name that is too long, or below a file
    there = next(above for above in (folder, *folder.parents) if os.path.lexists(above))
    with tempfile.TemporaryFile(dir=there) as file:
        file.write(bytes(TRIED_BYTES))
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A folder of one writer beside `path`, cleared at the end. What killed writers left is cleared at the start.

    The writer holds a lock on a file in its folder. A process number would not tell who is alive: each of two containers on one
    volume has a process 1.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.????????.tmp"):
            if not left.is_symlink():
                _clear_if_dead(left, path)
        beside, lock = _locked_folder(path)
    try:
        yield beside
    finally:
        with lock, _explained(path):
            _restore(beside, path)
        shutil.rmtree(beside, ignore_errors=True)  # after the lock is closed: NFS keeps what is open


def _locked_folder(path: Path) -> tuple[Path, IO[bytes]]:
    while True:
        folder = Path(tempfile.mkdtemp(".tmp", f".{path.name}.", path.parent))
        with contextlib.suppress(FileNotFoundError):  # another writer took it for left over before it was locked
            lock = (folder / LOCK).open("ab")
            with contextlib.suppress(OSError):  # a volume without locks: nobody can lock there, so nothing is cleared
                fcntl.flock(lock, fcntl.LOCK_EX)
            if (folder / LOCK).exists():
                return folder, lock
            lock.close()


def _clear_if_dead(left: Path, path: Path) -> None:
    with contextlib.suppress(OSError), (left / LOCK).open("ab") as lock:  # locked by its writer, or another user's
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _restore(left, path)
        shutil.rmtree(left, ignore_errors=True)


def _restore(beside: Path, path: Path) -> None:
    """What a writer had moved aside and not replaced goes back."""
    if (beside / OLD).exists() and not path.exists():
        (beside / OLD).rename(path)


def sync(path: Path) -> None:
    """fsync of a file or a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _explained(path: Path, only: tuple[int, ...] = ()) -> Iterator[None]:
    """Turns an OSError (with `only`: of these numbers) into WriteError with the reason and the remedy."""
    try:
        yield
    except OSError as error:
        if only and error.errno not in only:
            raise
        if error.errno in NO_SPACE:
            raise WriteError(
                f"{path}: no space left on the device; free some and run again, nothing was left half-written"
            ) from error
        raise WriteError(
            f"{path}: cannot be written ({error.strerror or error}); choose another place or change its permissions"
        ) from error


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Writes the files of an archive below a folder. Raises TarError for what is no file or folder, or would lie elsewhere.

    Python's own filter for that came with 3.11.4, and Debian 12, which the images are made of, has 3.11.2.
    """
    for member in archive:
        place = (folder / member.name).resolve()
        if not place.is_relative_to(folder.resolve()) or not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"{member.name!r} is no file or folder below the one that it is unpacked into")
        if member.isdir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        content = archive.extractfile(member)
        assert content  # of a file
        with content, place.open("wb") as copy:
            shutil.copyfileobj(content, copy)
