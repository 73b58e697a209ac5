"""The scripts of recipes/ that bring images, with made packages: what is kept, and what a second or a failing run leaves."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML
from torchvision import datasets

from atelier.data import packages
from atelier.data.errors import DataError
from tests.support.recipes import script
from tests.support.small import ROOT

pytestmark = pytest.mark.usefixtures("empty_folder")

PACKED = b"\x03\x00" + b"\x00" * 8  # a deflated nothing, its CRC and its length


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


FLUENT = {
    "flat": ["1f600.svg", "0023-fe0f-20e3.svg", "1f44b.svg", "1f44b-1f3fb.svg", "1f1e6-1f1fc.svg", "1f916.svg"],
    "3d": ["1f600.webp", "0023-20e3.webp", "1f44b.webp", "1f44b-1f3fb.webp", "1f1e6-1f1fc.webp", "1f3c6.webp"],
}


def test_icons_of_both_kinds_are_pairs_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def npm(package: str, sha256: str, folder: Path) -> Path:
        kind = package.removeprefix("@lobehub/fluent-emoji-").removesuffix("@1.1.0")
        (folder / "package/assets").mkdir(parents=True)
        for name in FLUENT[kind]:
            (folder / "package/assets" / name).write_text(f"{kind} {SVG}" if kind == "3d" else SVG)
        return folder / "package"

    monkeypatch.setattr(packages, "npm", npm)
    main = script("icons3d")["main"]
    main()
    for kind, suffix in (("flat", ".png"), ("3d", ".webp")):
        assert {path.name for path in Path("images", kind).iterdir()} == {f"{n}{suffix}" for n in ("1f600", "1f44b", "0023-20e3")}
    assert Path("images/3d/1f600.webp").read_text() == f"3d {SVG}"
    with Image.open("images/flat/1f600.png") as drawn:
        assert drawn.size == (128, 128) and drawn.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert "MIT" in Path("images/NOTICE.txt").read_text() and "3 emoji" in capsys.readouterr().out
    main()
    assert "there already" in capsys.readouterr().out


SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="2" fill="red"/></svg>'
COMPONENTS = ("rearHair", "body", "head", "clothes", "mouth", "beard", "eyes", "eyebrows", "hair")
CORE = """
const opened = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9" shape-rendering="auto">';
export const createAvatar = (style, options) => ({ toString: () => `${opened}${style.body()}</svg>` });
"""
STYLE = """
import * as parts from './components/index.js';
export const body = () => Object.values(parts).map((part) => part.only()).join('');
"""
PART = """
export const {name} = {{ only: () => `<path d="M{x}.1 0h.8v6.3h-.8z" fill="#123456" stroke="black" stroke-width=".1"/>` +
  `<path d="M{x} 6h1v1h-1z" fill="black" fill-opacity="0.2"/>` +
  `<mask id="m{x}" maskUnits="userSpaceOnUse" x="{x}" y="7" width="1" height="1">` +
  `<path d="M{x}.2 7.2h.5v.5h-.5z" fill="#fff"/></mask>` +
  `<g mask="url(#m{x})"><path d="M0 0h9v9h-9z" fill="#abc"/></g>` }};
"""


def test_maps_of_avatars_hold_classes_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def npm(package: str, sha256: str, folder: Path) -> Path:
        files = {"package.json": '{"type": "module"}'}
        if package == "@dicebear/core@9.4.3":
            files["lib/index.js"] = CORE
        else:
            assert package == "@dicebear/toon-head@9.4.3"
            files |= {"lib/index.js": STYLE, "lib/components/index.js": ""}
            for x, name in enumerate(COMPONENTS):
                files["lib/components/index.js"] += PART.format(name=name, x=x)
        for name, text in files.items():
            (folder / "package" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "package" / name).write_text(text)
        return folder / "package"

    monkeypatch.setattr(packages, "npm", npm)
    recipe = script("avatars")
    monkeypatch.setitem(recipe["avatars"].__globals__, "COUNT", 2)
    monkeypatch.setitem(recipe["avatars"].__globals__, "SIDE", 72)
    recipe["main"]()
    assert sorted(path.name for path in Path("images/picture").iterdir()) == ["0000.png", "0001.png"]
    with Image.open("images/map/0001.png") as file:
        colors = np.asarray(file.convert("RGB"))
    params = YAML(typ="safe").load((ROOT / "recipes/avatars/params.yaml").read_text())
    classes = {name: bytes.fromhex(color[1:]) for name, color in params["data"]["people"]["fields"]["input"]["classes"].items()}
    assert {bytes(color) for color in colors.reshape(-1, 3)} == {*classes.values()}, "no color between two classes"
    of = recipe["COMPONENTS"]
    assert [bytes(colors[20, 8 * x + 4]) for x in range(9)] == [classes[of[name]] for name in COMPONENTS]
    assert (colors[52] == 255).all(), "shadows are left out"
    assert [bytes(colors[59, 8 * x + 3]) for x in range(9)] == [classes[of[name]] for name in COMPONENTS], "by its mask"
    with Image.open("images/picture/0001.png") as file:
        assert file.convert("RGB").getpixel((4, 20)) == (0x12, 0x34, 0x56)
    assert "CC BY 4.0" in Path("images/NOTICE.txt").read_text() and "2 avatars" in capsys.readouterr().out


def test_avatars_say_what_node_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def npm(package: str, sha256: str, folder: Path) -> Path:
        (folder / "package").mkdir()
        return folder / "package"

    monkeypatch.setattr(packages, "npm", npm)
    with pytest.raises(DataError, match=r"draw\.mjs failed"):
        script("avatars")["main"]()
    assert not list(Path().iterdir())


def test_digits_are_few_of_some_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    script("balance")["main"]()
    counts = [len(list(Path(f"images/digits/train/{digit}").iterdir())) for digit in range(10)]
    assert counts == [100, 77, 60, 46, 36, 28, 22, 17, 13, 10] and Path("images/NOTICE.txt").is_file()
    held_out = {file.read_bytes() for file in Path("images/digits/test").rglob("*.png")}
    assert len(held_out) == 1000 and not held_out & {file.read_bytes() for file in Path("images/digits/train").rglob("*.png")}
    assert "409 digits to train on, 100 zeros to 10 nines" in capsys.readouterr().out
