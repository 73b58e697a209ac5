from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from atelier.io import files
from atelier.io.files import WriteError, atomic_folder, atomic_write, check_file, check_folders, check_output
from tests.support.half_written import leftovers


def refused(path: Path, *parts: str, marker: str | None = None) -> None:
    with pytest.raises(WriteError) as caught, atomic_folder(path, marker):
        pytest.fail("nothing is computed for an output that cannot be written")
    assert all(part in str(caught.value) for part in (str(path), *parts)), caught.value


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
    with pytest.raises(WriteError, match=r"folder: no space left"), atomic_folder(tmp_path / "folder") as aside:
        full(0)
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
    assert [path.name for path in folder.iterdir()] == ["c"] and not leftovers(tmp_path)


def test_what_is_written_is_as_readable_as_any_other_file(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        atomic_write(tmp_path / "file", "")
        with atomic_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o755


def test_canonical_json_is_canonical_and_refuses_nan() -> None:
    assert files.canonical_json({"b": 1, "a": [1.5]}) == files.canonical_json({"a": [1.5], "b": 1})
    with pytest.raises(ValueError, match="JSON"):
        files.canonical_json({"a": float("nan")})


# ---- where a folder may be put


def test_only_an_earlier_output_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(2):  # an empty folder, then the output of the first time
        with atomic_folder(folder, "manifest.json") as aside:
            (aside / "manifest.json").write_text(str(number))
    assert (folder / "manifest.json").read_text() == "1"
    thesis = tmp_path / "work" / "thesis.tex"
    thesis.parent.mkdir()
    thesis.write_text("years")
    refused(thesis.parent, "not an earlier output", "manifest.json", "remove it", marker="manifest.json")
    refused(thesis, "exists and is not a folder")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused(tmp_path / "loop", "exists and is not a folder")
    assert thesis.read_text() == "years" and not leftovers(tmp_path) and not leftovers(thesis.parent)


def test_a_link_to_an_output_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path / "disk" / "output")
    for text in ("old", "new"):
        with atomic_folder(tmp_path / "folder", "marker") as aside:
            (aside / "marker").write_text(text)
    assert (tmp_path / "folder").is_symlink() and (tmp_path / "disk" / "output" / "marker").read_text() == "new"
    (tmp_path / "disk" / "output" / "marker").rename(tmp_path / "disk" / "output" / "precious")
    refused(tmp_path / "folder", "not an earlier output", marker="marker")


def test_the_folder_that_this_runs_in_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for path in (Path(), tmp_path, Path("/")):
        refused(path, "the folder that this runs in")


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "output", Path("/proc/atelier"), tmp_path / ("long" * 70)):
        refused(path, "cannot be written (")
        with pytest.raises(WriteError, match=r"cannot be written \("):
            atomic_write(path / "x", "")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_source_that_cannot_be_read_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "folder"):
        (tmp_path / "source").read_bytes()
    assert not list(tmp_path.iterdir())


# ---- interruptions and other writers


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_an_interruption_between_the_two_renames_brings_the_old_back(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rename = tmp_path / "folder", Path.rename
    folder.mkdir()
    (folder / "kept").write_text("1")

    def interrupted(path: Path, target: Path) -> Any:
        if path.name == files.NEW:
            assert not folder.exists()
            raise error
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises((WriteError, KeyboardInterrupt)), atomic_folder(folder):
        pass
    assert (folder / "kept").read_text() == "1" and not leftovers(tmp_path)


def test_two_writers_in_one_process(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "folder") as outer:
        with atomic_folder(tmp_path / "folder") as inner:
            (inner / "inner").touch()
        assert outer.exists()
    assert not list((tmp_path / "folder").iterdir())


def test_only_what_writers_of_this_name_left_is_cleared(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / files.OLD).touch()
    (tmp_path / ".a.12345678.tmp").symlink_to(elsewhere)
    (tmp_path / ".a.b.12345678.tmp").mkdir()
    (tmp_path / ".a.12345679.tmp").mkdir()
    atomic_write(tmp_path / "a", "")
    assert leftovers(tmp_path) == [".a.12345678.tmp", ".a.b.12345678.tmp"] and (elsewhere / files.OLD).exists()


def test_a_folder_that_was_cleared_before_it_was_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writer may find it in the moment between its creation and its lock."""
    flock = files.fcntl.flock
    cleared: list[Path] = []

    def late(lock: Any, kind: int) -> None:
        if not cleared:
            cleared.append(Path(lock.name).parent)
            Path(lock.name).unlink()
            cleared[0].rmdir()
        flock(lock, kind)

    monkeypatch.setattr(files.fcntl, "flock", late)
    atomic_write(tmp_path / "file", "whole")
    assert cleared and (tmp_path / "file").read_text() == "whole" and not leftovers(tmp_path)


def test_a_volume_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(files.fcntl, "flock", unsupported)
    with atomic_folder(tmp_path / "folder") as aside:
        with atomic_folder(tmp_path / "folder"):
            pass
        assert aside.exists(), "nobody can tell that its writer lives, so it stays"
    assert not leftovers(tmp_path)


def test_places_are_tried_by_writing_and_stay_as_they_were(tmp_path: Path) -> None:
    """Also for root, whom permissions do not stop."""
    (tmp_path / "file").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    for check in (check_output, check_file, check_folders):
        check(tmp_path / "made" / "later")
        for place in (tmp_path / "file" / "below", Path("/sys/model"), Path("/proc/nowhere/model"), tmp_path / ("n" * 300)):
            with pytest.raises(WriteError, match="cannot be written"):
                check(place)
    assert sorted(tmp_path.rglob("*")) == before
    check_file(tmp_path / "file")
    with pytest.raises(WriteError, match="is a folder; name a file, such as"):
        check_file(tmp_path)
    with pytest.raises(WriteError, match="something is mounted there; choose a folder in it, such as /proc/output"):
        check_output(Path("/proc"))


def test_a_full_disk_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("atelier.io.files.os.fsync", full)
    for check in (check_output, check_file, check_folders):
        with pytest.raises(WriteError, match="model: no space left on the device; free some and run again"):
            check(tmp_path / "model")
