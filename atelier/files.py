"""Atomic writes and content hashes: what is on disk is either the old whole or the new whole."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atelier.errors import AtelierError


class WriteError(AtelierError):
    """A file could not be written."""


def canonical_json(value: Any) -> str:
    """Indented JSON with sorted keys and a final newline: equal values give equal bytes. NaN and infinity are refused."""
    return json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n"


def sha256_file(path: Path) -> str:
    """sha256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def atomic_write(path: Path, content: bytes | str) -> None:
    """Writes beside `path`, syncs, renames. Raises WriteError (disk full, no permission) and leaves the old file as it was."""
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        try:
            with aside.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        sync(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder beside `path` that, once the block ends without an error, is synced and takes `path`'s place.

    After an error nothing of it remains and what was at `path` is untouched. Raises WriteError on a full disk.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        aside.mkdir()
        try:
            yield aside
            for file in aside.rglob("*"):
                sync(file)
            sync(aside)
            if path.exists():
                path.rename(old)
            aside.rename(path)
            sync(path.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def _sweep(path: Path) -> None:
    """Clears what a killed process left beside `path`; what was moved aside and not replaced comes back."""
    for left in path.parent.glob(f".{path.name}.*.???"):
        pid, _, kind = left.name.removeprefix(f".{path.name}.").partition(".")
        if pid.isdigit() and (int(pid) == os.getpid() or not _alive(int(pid))):
            if kind == "old" and not path.exists():
                left.rename(path)
            elif left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sync(path: Path) -> None:
    """fsync of a file or a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WriteError(
                f"{path}: no space left on the device; free some and run again, nothing was left half-written"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise WriteError(
                f"{path}: cannot be written ({error.strerror}); choose another place or change its permissions"
            ) from error
        raise
