"""The scripts of recipes/ that bring images, with made packages: what is kept, and what a second or a failing run leaves."""

from __future__ import annotations

import hashlib
import io
import json
import runpy
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML
from torchvision import datasets

from atelier.data import packages, wallpapers
from atelier.data.errors import DataError
from atelier.data.style_images import PHOTOS, PLASMA
from atelier.extractors import hed
from atelier.metrics.pairs import as_small
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


def test_photos_for_upscaling_are_pieces_with_detail(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Halved a photo has six squares, of which the left ones have detail; at a third of its size it has two."""
    recipe, of_plasma = script("upscale"), wallpapers.OF_PLASMA
    photo = Image.new("RGB", (3 * 256, 2 * 256), "red")
    photo.paste(noise(256).resize((512, 512), Image.Resampling.NEAREST).crop((0, 0, 256, 512)))

    def debian(package: str, path: str, folder: Path) -> Path:
        names = ["Aqua.jpg", "Dune.jpg"] if package == wallpapers.MATE else [f"{n}/contents/images/8x6.jpg" for n in of_plasma]
        for name in names:
            (folder / path / name).parent.mkdir(parents=True, exist_ok=True)
            (photo if name == "Dune.jpg" else Image.new("RGB", photo.size, "red")).save(folder / path / name)
            if "/" in name:
                (folder / path / name).with_stem("4x3").symlink_to("8x6.jpg")
        return folder / path

    monkeypatch.setattr(packages, "debian", debian)
    recipe["main"]()
    files = sorted(path.relative_to("images/photos") for path in Path("images/photos").rglob("*.png"))
    assert [str(path) for path in files] == ["test/mate-Dune-2-0.png", "test/mate-Dune-2-1.png", "test/mate-Dune-3-0.png"]
    with Image.open(Path("images/photos") / files[1]) as piece, Image.open(Path("images/photos") / files[2]) as smaller:
        assert piece.size == smaller.size == (128, 128) and piece.mode == "RGB"
        assert recipe["detail"](piece).min() >= 8 > recipe["detail"](Image.new("RGB", (128, 128), "red")).max() == 0
    printed = capsys.readouterr().out
    assert "0 pieces, and 3 held out, of 11 photos" in printed and "GPL-2+" in Path("images/NOTICE.txt").read_text()
    assert not Path("images/whole").exists()
    recipe["main"]()
    assert "there already" in capsys.readouterr().out


def test_detail_is_the_mean_laplacian() -> None:
    """Of columns in turn 0 and 100, each differs by 100 from both of its neighbors; at the right edge from one, which repeats."""
    columns = np.tile(np.array([0, 100], np.uint8), (128, 64))
    found = script("upscale")["detail"](Image.fromarray(columns))
    np.testing.assert_allclose(found, [[(126 * 200 + 2 * 100) / 128]], rtol=1e-6)


def test_wallpapers_that_a_release_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "debian", lambda package, path, folder: folder)
    with pytest.raises(DataError, match="Debian's package mate-backgrounds has not any of its photos here"):
        script("upscale")["main"]()
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("name", "kind", "count", "side", "said"),
    [("style", "style", 1, 256, "21 photos and a painting"), ("styles", "styles", 25, 192, "21 photos and 25 styles")],
)
def test_photos_and_styles_have_one_side(
    name: str, kind: str, count: int, side: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = script(name)
    styles = recipe[kind.upper()]

    def debian(package: str, path: str, folder: Path) -> Path:
        for name in (*PHOTOS.names.get(package, ()), *styles.names.get(package, ())):
            file = folder / path / (f"{name}/contents/images/8x6.png" if package == PLASMA else f"nature/{name}.png")
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGBA", (800, 600), "red").save(file)
        return folder / path

    monkeypatch.setattr(packages, "debian", debian)
    monkeypatch.setattr(hed, "bring", lambda: Path("weights"))
    recipe["main"]()
    for folder, many, shorter in (("photos", 21, 256), (kind, count, side)):
        files = [*Path("images", folder).iterdir()]
        assert len(files) == many
        with Image.open(files[0]) as picture:
            assert picture.size == (round(shorter * 4 / 3), shorter) and picture.mode == "RGB"
    assert "LGPL-3" in Path("images/NOTICE.txt").read_text() and said in capsys.readouterr().out


def test_a_release_without_a_style(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "debian", lambda package, path, folder: folder)
    with pytest.raises(DataError, match="Debian's package mate-backgrounds has no wallpaper Aqua here; take it out of"):
        script("style")["main"]()
    assert not list(Path().iterdir())


def noise(side: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, len(mode)), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_textures_are_opaque_squares_of_surfaces(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = script("textures")
    pictures = {
        "base_wall/brick.jpg": noise(256),
        "base_wall/large.tga": noise(512),
        "stone/moss.jpg": noise(256),
        "base_wall/small.jpg": noise(64),
        "base_wall/glass.tga": noise(256, "RGBA"),
        "base_wall/gray.jpg": Image.new("RGB", (256, 256), "gray"),
        "skies/dusk.jpg": noise(256),
    }

    def debian(package: str, path: str, folder: Path) -> Path:
        (folder / path).mkdir(parents=True)
        with zipfile.ZipFile(folder / path / recipe["ARCHIVE"], "w") as archive:
            for name, picture in pictures.items():
                picture.save(file := io.BytesIO(), "TGA" if name.endswith("tga") else "JPEG")
                archive.writestr(f"textures/{name}", file.getvalue())
        return folder / path

    monkeypatch.setattr(packages, "debian", debian)
    brought = list[str]()
    monkeypatch.setattr(hed, "bring", lambda: brought.append("weights"))
    recipe["main"]()
    found = {str(path.relative_to("images/textures")): Image.open(path) for path in Path("images/textures").glob("*/*")}
    assert found.keys() == {"train/base_wall-brick.png", "train/base_wall-large.png", "test/stone-moss.png"}
    assert all(texture.size == (128, 128) for texture in found.values())
    blocks = np.asarray(pictures["base_wall/large.tga"], float).reshape(128, 4, 128, 4, 3).mean(axis=(1, 3))
    assert abs(np.asarray(found["train/base_wall-large.png"]) - blocks).max() <= 1
    assert brought == ["weights"]
    assert "2 textures, and 1 held out" in capsys.readouterr().out and "GPL-2+" in Path("images/NOTICE.txt").read_text()


def test_openarena_without_its_textures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "debian", lambda package, path, folder: folder)
    with pytest.raises(DataError, match=r"pak4-textures\.pk3 is missing; install openarena-081-textures whole"):
        script("textures")["main"]()


def test_seams_are_steps_across_edges() -> None:
    measure = runpy.run_path(str(ROOT / "recipes" / "textures" / "measure_seams.py"))
    ramp = np.broadcast_to(np.arange(10, 20, dtype=np.uint8), (3, 5, 10))  # nine levels across, by steps of one; no rows
    waves = np.broadcast_to(np.array([0, 8, 0, 8], np.uint8)[:, None], (3, 4, 6))
    for image, columns, rows in ((ramp, 9.0, 1.0), (waves, 1.0, 1.0)):
        np.testing.assert_allclose(measure["seams"](image[None]), [[columns, rows]])
    wide = np.zeros((1, 3, 8, 8), np.uint8)
    wide[..., 2:-2, 2:-2] = 255
    assert measure["rim"](wide, np.zeros_like(wide)) > 60, "the inside does not count"
    tile = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    halved = measure["wrapped"](tile, lambda images: as_small(images, 2), 0.5)
    copies = as_small(np.tile(tile, (1, 1, 3, 3)), 2)
    assert halved.shape == (1, 3, 16, 16) and (halved == copies[..., 16:32, 16:32]).all()


def test_digits_are_few_of_some_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    script("balance")["main"]()
    counts = [len(list(Path(f"images/digits/train/{digit}").iterdir())) for digit in range(10)]
    assert counts == [100, 77, 60, 46, 36, 28, 22, 17, 13, 10] and Path("images/NOTICE.txt").is_file()
    held_out = {file.read_bytes() for file in Path("images/digits/test").rglob("*.png")}
    assert len(held_out) == 1000 and not held_out & {file.read_bytes() for file in Path("images/digits/train").rglob("*.png")}
    assert "409 digits to train on, 100 zeros to 10 nines" in capsys.readouterr().out
