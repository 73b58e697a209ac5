from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from atelier import files
from atelier.files import WriteError, atomic_folder, atomic_write


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_atomic_write_replaces_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    atomic_write(path, "old")
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new" and not leftovers(path.parent)
    assert files.sha256_file(path) == hashlib.sha256(b"new").hexdigest()


def test_full_disk_leaves_the_old_file_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    atomic_write(path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(WriteError, match=r"file.txt: no space left"):
        atomic_write(path, "new")
    with pytest.raises(WriteError, match=r"folder: no space left"), atomic_folder(tmp_path / "folder") as aside:
        (aside / "part").write_text("half")
    assert path.read_text() == "old" and not (tmp_path / "folder").exists() and not leftovers(tmp_path)


def test_atomic_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with atomic_folder(folder) as aside:
        (aside / "a").write_text("1")
        assert not folder.exists()
    with pytest.raises(RuntimeError), atomic_folder(folder) as aside:
        (aside / "b").write_text("2")
        raise RuntimeError
    assert [path.name for path in folder.iterdir()] == ["a"] and not leftovers(tmp_path)
    with atomic_folder(folder) as aside:
        (aside / "c").write_text("3")
    assert [path.name for path in folder.iterdir()] == ["c"]


def test_canonical_json_is_canonical_and_refuses_nan() -> None:
    assert files.canonical_json({"b": 1, "a": [1.5]}) == files.canonical_json({"a": [1.5], "b": 1})
    with pytest.raises(ValueError, match="JSON"):
        files.canonical_json({"a": float("nan")})


def test_what_a_killed_process_left_is_swept_and_nothing_is_lost(tmp_path: Path) -> None:
    dead = 2**22 + 1  # above Linux's largest pid
    (tmp_path / f".folder.{dead}.tmp").mkdir()
    (tmp_path / f".folder.{dead}.old").mkdir()
    (tmp_path / f".folder.{dead}.old" / "kept").write_text("1")
    (tmp_path / f".file.{dead}.tmp").write_text("half")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "folder"):
        raise RuntimeError
    atomic_write(tmp_path / "file", "whole")
    assert (tmp_path / "folder" / "kept").read_text() == "1" and not leftovers(tmp_path)
