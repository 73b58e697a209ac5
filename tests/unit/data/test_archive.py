"""Zip files: read in place like a folder; what is hostile is refused whole, what is damaged is rejected by name."""

from __future__ import annotations

import pickle
import stat
import zipfile
from pathlib import Path

import pytest

from atelier.data.errors import DataError
from atelier.data.sources.archive import ZipStorage
from atelier.data.sources.tree import open_tree
from atelier.storage import Damaged

MIB = 2**20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "images.zip"


def write(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def contents(path: Path) -> dict[str, bytes | Damaged]:
    storage = ZipStorage(str(path))
    entries = list(storage.entries())
    worker = pickle.loads(pickle.dumps(storage))  # noqa: S301 (what a pool does with it)
    return dict(zip([entry.name for entry in entries], worker.read(entries), strict=True))


def refused(path: Path, *parts: str) -> None:
    with pytest.raises(DataError) as caught:
        contents(path)
    message = str(caught.value)
    assert all(part in message for part in ("data.path", path.name, *parts)) and "\n" not in message, message


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_in_place(path: Path, method: int) -> None:
    members = {"cat/1.png": b"one" * 1000, "dog/é.png": b"two", "empty": b""}
    write(path, members, method)
    before = sorted(path.parent.iterdir())
    assert contents(path) == members
    assert sorted(path.parent.iterdir()) == before, "nothing is extracted"


def test_a_zip_after_other_bytes_is_read(path: Path) -> None:
    write(path, {"a.png": b"one"})
    path.write_bytes(b"#!/bin/sh\n" * 100 + path.read_bytes())
    assert contents(path) == {"a.png": b"one"}


def test_classes_and_hidden_files_are_as_in_a_folder(path: Path) -> None:
    write(path, {"cat/": b"", "dog/2.png": b"2", "cat/1.png": b"1", "__MACOSX/cat/._1.png": b"", "cat/.DS_Store": b""})
    source = open_tree("zip", str(path), MIB, "data")
    assert [(item.name, item.label) for chunk in source.chunks(1) for item in source.items(chunk)] == [
        ("cat/1.png", "cat"),
        ("dog/2.png", "dog"),
    ]


@pytest.mark.parametrize("name", ["../a.png", "cat/../../a.png", "/etc/a.png", "..\\a.png", "C:/a.png", "C:a.png"])
def test_names_that_lead_out_are_refused(path: Path, name: str) -> None:
    write(path, {"cat/1.png": b"1", name: b"2"})
    refused(path, "a name that leads out of the archive", "plain zip")


def test_links_are_refused(path: Path) -> None:
    link = zipfile.ZipInfo("cat/1.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    refused(path, "cat/1.png", "a symbolic link")


def test_encrypted_and_exotic_members_are_refused(path: Path) -> None:
    write(path, {"1.png": b"1" * 100}, zipfile.ZIP_LZMA)
    refused(path, "1.png", "compressed by method 14")
    write(path, {"1.png": b"1"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    refused(path, "1.png", "encrypted")


def test_bombs_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, {"1.png": bytes(3 * MIB)})
    assert contents(path) == {"1.png": bytes(3 * MIB)}, "a small one does no harm"
    monkeypatch.setattr("atelier.data.sources.archive.BOMB_BYTES", 2 * MIB)
    refused(path, "zip bomb", f"{3 * MIB} bytes unpacked")


def test_members_that_share_bytes_are_refused(path: Path) -> None:
    """The other kind of bomb: many entries of the directory point to the same data."""
    write(path, {"1.png": b"one" * 100, "2.png": b"one" * 100})
    content = bytearray(path.read_bytes())
    second = content.rindex(b"PK\1\2")
    content[second + 42 : second + 46] = bytes(4)
    path.write_bytes(content)
    refused(path, "zip bomb", "shares bytes")


def test_a_member_that_inflates_beyond_its_stated_size_stops_there(path: Path) -> None:
    write(path, {"1.png": bytes(5 * MIB)})
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2")
    content[entry + 24 : entry + 28] = (100).to_bytes(4, "little")
    path.write_bytes(content)
    assert contents(path) == {"1.png": Damaged("damaged inside the zip (wrong checksum)")}


def test_damage_is_told_by_member(path: Path) -> None:
    write(path, {"1.png": b"one" * 100, "2.png": b"two" * 100}, zipfile.ZIP_STORED)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"oneone", b"ononee", 1))
    assert contents(path) == {"1.png": Damaged("damaged inside the zip (wrong checksum)"), "2.png": b"two" * 100}
    path.write_bytes(content.replace(b"PK\3\4", b"PK\3\5", 1))
    assert contents(path)["1.png"] == Damaged("damaged inside the zip (no header)")


def test_what_is_no_zip(path: Path) -> None:
    path.write_bytes(b"Rar!")
    refused(path, "not a zip that can be read")
    write(path, {"1.png": b"one" * 100})
    path.write_bytes(path.read_bytes()[:-30])
    refused(path, "not a zip that can be read")
    path.unlink()
    refused(path, "no such file")
    write(path, {})
    with pytest.raises(DataError, match="holds no files"):
        open_tree("zip", str(path), MIB, "data")
