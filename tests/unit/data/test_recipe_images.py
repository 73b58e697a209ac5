"""The scripts of recipes/ that bring images, with made packages: what is kept, and what a second or a failing run leaves."""

from __future__ import annotations

import hashlib
import json
import runpy
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torchvision import datasets

from atelier.data import packages
from atelier.data.errors import DataError
from tests.support.small import ROOT

Namespace = dict[str, Any]
PACKED = b"\x03\x00" + b"\x00" * 8  # a deflated nothing, its CRC and its length


def script(recipe: str) -> Namespace:
    return runpy.run_path(str(ROOT / "recipes" / recipe / "get_images.py"))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["get_images.py"])


def one(short_name: str, subcategory: str, image: str, category: str = "People & Body", **tones: str) -> dict[str, Any]:
    variations = {"skin_variations": {key: {"image": name} for key, name in tones.items()}} if tones else {}
    return {"short_name": short_name, "category": category, "subcategory": subcategory, "image": image, **variations}


EMOJI = [
    one("man", "person", "1f468.png", dark="1f468-1f3ff.png"),
    one("pregnant_woman", "person-role", "1f930.png", dark="1f930-1f3ff.png"),
    one("male-guard", "person-role", "1f482-200d-2642-fe0f.png"),
    one("santa", "person-fantasy", "1f385.png"),
    one("zombie", "person-fantasy", "1f9df.png"),
    one("wave", "hand-fingers-open", "1f44b.png"),
    one("elf", "animal-mammal", "1f408.png", category="Animals & Nature"),
    one("selfie", "hand-prop", "1f933.png"),
]
PEOPLE = {"1f468.png", "1f468-1f3ff.png", "1f385.png"}


def npm_of(vendors: list[str]) -> Callable[[str, str, Path], Path]:
    """Stands for packages.npm; notes whose package it unpacks."""

    def npm(package: str, sha256: str, folder: Path) -> Path:
        assert len(sha256) == 64
        vendor = package.removeprefix("emoji-datasource-").removesuffix("@16.0.0")
        vendors.append(vendor)
        pictures = folder / "package/img" / vendor / "64"
        pictures.mkdir(parents=True)
        (folder / "package/emoji.json").write_text(json.dumps(EMOJI))
        for emoji in EMOJI:
            for name in (emoji["image"], *(tone["image"] for tone in emoji.get("skin_variations", {}).values())):
                (pictures / name).write_text(f"{vendor} {name}")
        return folder / "package"

    return npm


def test_emoji_people(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    vendors: list[str] = []
    monkeypatch.setattr(packages, "npm", npm_of(vendors))
    main = script("emoji-people")["main"]
    main()
    said = capsys.readouterr().out
    for vendor in ("google", "twitter"):
        found = {path.name: path.read_text() for path in Path("images", vendor).iterdir()}
        assert found == {name: f"{vendor} {name}" for name in PEOPLE}
        assert f"images/{vendor}: 3 pictures" in said
    assert {path.name for path in Path("images").iterdir()} == {"google", "twitter", "NOTICE.txt"}
    assert all(text in Path("images/NOTICE.txt").read_text() for text in ("Noto Emoji", "Apache", "Twemoji", "CC BY 4.0"))
    main()
    assert vendors == ["google", "twitter"] and "there already" in capsys.readouterr().out


def test_emoji_people_leave_nothing_half(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = npm_of([])

    def npm(package: str, sha256: str, folder: Path) -> Path:
        if "twitter" in package:
            raise DataError("no network")
        return whole(package, sha256, folder)

    monkeypatch.setattr(packages, "npm", npm)
    with pytest.raises(DataError, match="no network"):
        script("emoji-people")["main"]()
    assert not list(Path().iterdir())


@pytest.fixture
def published(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Four small files in place of the published ones, by their names; Debian's package has them without time and name."""
    times = {"train": 1504176606, "t10k": 1504176627}
    folder, files, listed = tmp_path_factory.mktemp("debian"), {}, []
    for part, time in times.items():
        for stem in (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"):
            files[f"{stem}.gz"] = b"\x1f\x8b\x08\x08" + struct.pack("<I", time) + b"\x00\x03" + stem.encode() + b"\0" + PACKED
            (folder / f"{stem}.gz").write_bytes(b"\x1f\x8b\x08\x00" + struct.pack("<I", 1) + b"\x00\x03" + PACKED)
            listed.append((f"{stem}.gz", hashlib.md5(files[f"{stem}.gz"], usedforsecurity=False).hexdigest()))
    monkeypatch.setattr(datasets.FashionMNIST, "resources", listed)
    monkeypatch.setattr(packages, "debian", lambda package, path, scratch: folder)

    def download(self: datasets.FashionMNIST) -> None:
        raw = Path(self.raw_folder)
        raw.mkdir(parents=True)
        for name, content in files.items():
            (raw / name).write_bytes(content)

    monkeypatch.setattr(datasets.MNIST, "download", download)
    monkeypatch.setattr(datasets.MNIST, "_check_exists", lambda self: True)
    monkeypatch.setattr(datasets.MNIST, "_load_data", lambda self: (None, None))
    return files


def images() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("images").iterdir()}


def test_fashion_from_debian(published: dict[str, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    main = script("fashion")["main"]
    main()
    assert images() == published and "from Debian's package" in capsys.readouterr().out
    main()
    assert "there already" in capsys.readouterr().out


def test_fashion_from_torchvision_without_debian(
    published: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def debian(package: str, path: str, folder: Path) -> Path:
        raise DataError("apt-get is not installed")

    monkeypatch.setattr(packages, "debian", debian)
    script("fashion")["main"]()
    said = capsys.readouterr().out
    assert images() == published and "apt-get is not installed" in said and "from torchvision" in said


def test_fashion_leaves_nothing_half(published: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    (name, _), *others = datasets.FashionMNIST.resources
    monkeypatch.setattr(datasets.FashionMNIST, "resources", [(name, "0" * 32), *others])
    with pytest.raises(DataError, match=f"{name} of torchvision is not the published file"):
        script("fashion")["main"]()
    assert not list(Path().iterdir())


def test_fashion_sees_damage(published: dict[str, bytes]) -> None:
    main = script("fashion")["main"]
    main()
    (name, *_) = published
    Path("images", name).write_bytes(b"damaged")
    with pytest.raises(DataError, match=f"{name} of images is not the published file"):
        main()
