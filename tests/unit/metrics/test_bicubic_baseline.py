"""The documented command for the bicubic baseline, on pictures of scikit-image, against MATLAB's formulas and scikit-image."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from atelier.data.errors import DataError
from atelier.metrics.pairs import luma
from benchmarks import bicubic
from tests.support.imresize import imresize, of_8_bits

PICTURES = {"astronaut": data.astronaut, "camera": data.camera, "chelsea": data.chelsea, "coffee": data.coffee}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts of four pictures, of sides that are no multiples of 3 or 4, one of them gray; and a file that is none."""
    root = tmp_path_factory.mktemp("pictures")
    for name, picture in PICTURES.items():
        Image.fromarray(picture()[60:257, 90:288]).save(root / f"{name}.png")
    (root / "readme.txt").write_text("no picture")
    return root


def expected(pixels: np.ndarray, scale: int) -> list[float]:
    """PSNR and SSIM of Y, then of all channels, by scikit-image."""
    sides = [side - side % scale for side in pixels.shape[:2]]
    target = pixels[: sides[0], : sides[1]]
    channels = np.atleast_3d(target).transpose(2, 0, 1).astype(float)
    enlarged = of_8_bits(imresize(of_8_bits(imresize(channels, 1 / scale)).astype(float), scale)).transpose(1, 2, 0).squeeze()
    found = []
    for of_y in (True, False):
        both = [rgb2ycbcr(one)[..., 0] if of_y and one.ndim == 3 else one for one in (target, enlarged)]
        one, other = (side[scale:-scale, scale:-scale] for side in both)
        found.append(float(peak_signal_noise_ratio(one, other, data_range=255)))
        found.append(
            float(
                structural_similarity(
                    one, other, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                    channel_axis=-1 if one.ndim == 3 else None,
                )
            )
        )  # fmt: skip
    return found


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_table_is_that_of_scikit_image(
    scale: int, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["bicubic", str(folder), "--scale", str(scale)])
    bicubic.main()
    printed = capsys.readouterr().out
    rows = {cells[0]: [float(cell) for cell in cells[1:]] for cells in map(_cells, printed.splitlines()) if len(cells) == 5}
    every = np.array([expected(np.asarray(Image.open(folder / f"{name}.png")), scale) for name in PICTURES])
    for name, values in zip([*PICTURES, "mean", "median"], [*every, every.mean(axis=0), np.median(every, axis=0)], strict=True):
        np.testing.assert_allclose(rows[name], values, atol=0.0051)
        np.testing.assert_allclose(rows[name][1::2], values[1::2], atol=0.0002)
    assert set(rows) == {*PICTURES, "mean", "median"}
    assert rows["astronaut"][0] > rows["astronaut"][2] and rows["camera"][0] == rows["camera"][2]
    if scale == 4:
        assert "published for Set5: 28.42 dB and 0.8104 on Y" in printed


def _cells(line: str) -> list[str]:
    """The cells of a row of numbers."""
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    return cells if cells[-1][:1].isdigit() else []


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_resizing_luma_as_the_published_table_does_is_hardly_another_number(scale: int, folder: Path) -> None:
    """Y rounded to 8 bits, resized without rounding between (SRCNN's and VDSR's code)."""
    for name in PICTURES:
        target = bicubic.picture(folder / f"{name}.png", scale)
        y = np.round(luma(target))
        enlarged = of_8_bits(imresize(imresize(y, 1 / scale), scale))
        inner = np.s_[0, 0, scale:-scale, scale:-scale]
        theirs = peak_signal_noise_ratio(y[inner], enlarged[inner].astype(float), data_range=255)
        assert bicubic.errors(folder / f"{name}.png", scale)[0] == pytest.approx(theirs, abs=0.04)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no pictures .*; name the folder that holds them"):
        list(bicubic.report(tmp_path, 4))


@pytest.mark.parametrize(("scale", "side"), [(2, 15), (3, 17), (4, 19)])
def test_the_smallest_picture_is_measured_and_a_smaller_one_is_named(scale: int, side: int, tmp_path: Path) -> None:
    least = -(-side // scale) * scale
    Image.fromarray(data.astronaut()[:least, :least]).save(tmp_path / "least.png")
    assert np.isfinite(bicubic.errors(tmp_path / "least.png", scale)).all()
    for smaller in (least - 1, 1):
        Image.fromarray(data.astronaut()[:smaller, :40]).save(tmp_path / "tiny.png")
        said = rf"tiny\.png: has 40 x {smaller} px, and x{scale} needs {least} px a side: .*; take it out of the folder"
        with pytest.raises(DataError, match=said):
            list(bicubic.report(tmp_path, scale))


def test_a_file_that_is_no_picture_is_named(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "coffee.png").read_bytes()
    for content in (b"no picture", whole[: len(whole) // 2], whole[:40] + b"?" + whole[41:]):
        (tmp_path / "broken.png").write_bytes(content)
        with pytest.raises(DataError, match=r"broken\.png: cannot be read as a picture; repair it, or take it out"):
            bicubic.picture(tmp_path / "broken.png", 4)
