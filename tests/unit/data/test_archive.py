"""Zip files: read in place like a folder; what is hostile is refused whole, what is damaged is rejected by name."""

from __future__ import annotations

import pickle
import stat
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from atelier.data.errors import DataError
from atelier.data.sources.archive import ZipStorage
from atelier.data.sources.tree import TreeSource
from atelier.io.storage import Damaged

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
    source = TreeSource("zip", str(path), MIB, "data")
    assert [(item.name, item.label) for chunk in source.chunks(1, range(source.count)) for item in source.items(chunk)] == [
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
    refused(path, "zip bomb", f"{3 * MIB} bytes unpacked from {path.stat().st_size}")
    noise = {"1.png": bytes(3 * MIB), "noise.png": np.random.default_rng(0).bytes(3 * MIB // 150)}
    write(path, noise)
    assert contents(path) == noise, "less than 200 times as large"
    noise["noise.png"] = noise["noise.png"][: 3 * MIB // 300]
    write(path, noise)
    refused(path, "zip bomb")


def entry(path: Path, number: int) -> tuple[bytearray, int]:
    """The bytes of the zip, and where the directory's entry of that number begins in them."""
    content, place = bytearray(path.read_bytes()), -1
    for _ in range(number + 1):
        place = content.index(b"PK\1\2", place + 1)
    return content, place


def test_members_that_share_bytes_are_refused(path: Path) -> None:
    """The other kind of bomb: entries of the directory point to the same data, or one's data reach into the next."""
    members = {"1.png": b"one" * 100, "2.png": b"two" * 100}
    write(path, members, zipfile.ZIP_STORED)
    content, second = entry(path, 1)
    content[second + 42 : second + 46] = bytes(4)
    path.write_bytes(content)
    refused(path, "zip bomb", "shares bytes")
    for more, message in ((len("1.png"), None), (len("1.png") + 1, "'2.png' shares bytes")):
        write(path, members, zipfile.ZIP_STORED)
        content, first = entry(path, 0)
        content[first + 20 : first + 28] = (300 + more).to_bytes(4, "little") * 2
        path.write_bytes(content)
        if message:
            refused(path, "zip bomb", message)
        else:
            assert contents(path)["2.png"] == b"two" * 100, "as far as the next header, which names and extras may fill"


def test_a_member_that_inflates_beyond_its_stated_size_stops_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, {"1.png": bytes(5 * MIB)})
    content, place = entry(path, 0)
    content[place + 24 : place + 28] = (100).to_bytes(4, "little")
    path.write_bytes(content)
    inflated = []

    class Watched:
        def __init__(self, bits: int) -> None:
            self.inner = zlib.decompressobj(bits)

        def decompress(self, *arguments: Any) -> bytes:
            inflated.append(self.inner.decompress(*arguments))
            return inflated[-1]

    monkeypatch.setattr("atelier.data.sources.archive.zlib", SimpleNamespace(**vars(zlib) | {"decompressobj": Watched}))
    assert contents(path) == {"1.png": Damaged("damaged inside the zip (wrong checksum)")}
    assert [len(part) for part in inflated] == [101]


def test_names_as_macos_writes_them(path: Path) -> None:
    """UTF-8 without the flag that says so; what is no UTF-8 is of code page 437, as the format says."""
    for name, expected in (("été/1.png".encode(), "été/1.png"), (b"\x82t\x82/1.png", "été/1.png")):
        write(path, {"x" * len(name): b"1"})
        path.write_bytes(path.read_bytes().replace(b"x" * len(name), name))
        assert contents(path) == {expected: b"1"}
    write(path, {"été/1.png": b"1"})
    assert contents(path) == {"été/1.png": b"1"}, "with the flag"


def test_names_stay_on_one_line(path: Path) -> None:
    write(path, {"a\nb/1.png": b"1"})
    assert contents(path) == {"a\\nb/1.png": b"1"}


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
    path.mkdir()
    refused(path, "a folder; name the zip, or set source: folder")
    path.rmdir()
    write(path, {})
    with pytest.raises(DataError, match="holds no files"):
        TreeSource("zip", str(path), MIB, "data")
