"""The scripts of recipes/ that bring photos, styles and textures from Debian, with made packages, and the one for seams."""

from __future__ import annotations

import io
import runpy
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atelier.data import packages, wallpapers
from atelier.data.errors import DataError
from atelier.data.style_images import PHOTOS, PLASMA
from atelier.extractors import hed
from atelier.metrics.pairs import as_small
from tests.support.recipes import script
from tests.support.small import ROOT

pytestmark = pytest.mark.usefixtures("empty_folder")


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
