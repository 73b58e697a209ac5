"""PNG files written a few rows at a time: what readers find is what was written."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from atelier.io.png import ROWS, PngWriter
from tests.support.colors import P3
from tests.support.deep_pictures import read_png


def written(values: np.ndarray, rows: int, profile: bytes | None = None) -> bytes:
    file = io.BytesIO()
    height, width, channels = values.shape
    writer = PngWriter(file, width, height, channels, 8 * values.itemsize, {"about": "a text"}, profile)
    for first in range(0, height, rows):
        writer.write(values[first : first + rows])
    writer.close()
    return file.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("rows", [1, 4, 9])
def test_it_is_read_back(dtype: type, channels: int, rows: int) -> None:
    random = np.random.default_rng(channels)
    noise: np.ndarray = random.integers(0, np.iinfo(dtype).max + 1, (9, 6, channels)).astype(dtype)
    smooth: np.ndarray = (np.arange(9 * 6 * channels).reshape(9, 6, channels) * 997 % np.iinfo(dtype).max).astype(dtype)
    for values in (noise, smooth):
        found, chunks = read_png(written(values, rows))
        assert (found == values).all() and found.dtype == dtype
        assert chunks[b"tEXt"] == b"about\0a text" and b"iCCP" not in chunks


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_other_programs_read_it(channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (2 * ROWS + 5, 70, channels), np.uint8)
    with Image.open(io.BytesIO(written(values, 80, P3))) as image:
        assert (np.atleast_3d(np.asarray(image)).reshape(values.shape) == values).all()
        assert image.info["icc_profile"] == P3 and image.info["about"] == "a text"  # type: ignore[index]


def test_what_is_smooth_is_small() -> None:
    ramp = np.add.outer(np.arange(300), np.arange(300)).astype(np.uint8)[..., None]
    assert len(written(ramp, 300)) < 0.02 * ramp.size
