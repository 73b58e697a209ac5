"""A picture in its own size keeps 16 bits, transparency and profile, and is turned by its EXIF."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atelier.data.errors import Rejected
from atelier.data.kept import Kept, kept
from tests.support import icc
from tests.support.colors import P3
from tests.support.deep_pictures import orientation_chunk, png, profile_chunk, tiff
from tests.support.reading import RECIPE

Encode = Callable[..., bytes]
GRAY_PROFILE = icc.profile("sRGB", 2.0, space=b"GRAY")


def values(channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 65536, (12, 20, channels)).astype(np.uint16)


def found(content: bytes, channels: int = 3) -> Kept:
    return kept(content, replace(RECIPE, channels=channels))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits(channels: int) -> None:
    given = values(channels)
    one = found(png(given))
    colors = given[..., : 1 if channels < 3 else 3]
    assert one.pixels.dtype == np.uint16 and one.pixels.shape == (12, 20, 3) and (one.pixels == colors).all()
    assert one.alpha is None if channels % 2 else one.alpha is not None and (one.alpha == given[..., -1]).all()


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_of_16_bits(order: str, compressed: bool, channels: int) -> None:
    given = values(channels)
    one = found(tiff(given, order, compressed))
    assert (one.pixels == given[..., :3]).all()
    assert one.alpha is None if channels == 3 else one.alpha is not None and (one.alpha == given[..., 3]).all()


def test_what_is_not_read_faithfully_is_rejected() -> None:
    with pytest.raises(Rejected, match="16 bits a value as RGB;16N are not read faithfully; convert it to a PNG of 16 bits"):
        found(tiff(values(3), compressed=True, planes_apart=True))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bits_are_turned_as_8_are(orientation: int, encode: Encode) -> None:
    given = values(3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    shallow = found(encode((given >> 8).astype(np.uint8), exif=exif)).pixels
    deep = found(png(given, orientation_chunk(orientation))).pixels
    assert deep.shape == shallow.shape and (deep >> 8 == shallow).all()
    assert sorted(deep.ravel().tolist()) == sorted(given.ravel().tolist())
    assert (orientation > 4) == (deep.shape[0] == 20)


def test_a_color_of_16_bits_may_be_the_transparent_one() -> None:
    given = values(3)
    given[3, 4] = given[0, 0] = 0x1234, 0x0001, 0xFFFE
    alpha = found(png(given, (b"tRNS", b"\x12\x34\x00\x01\xff\xfe"))).alpha
    assert alpha is not None and np.argwhere(alpha == 0).tolist() == [[0, 0], [3, 4]] and {*alpha.ravel().tolist()} == {0, 65535}


def test_gray_of_colors_is_their_luma() -> None:
    given = values(3)
    expected = given @ np.array([0.299, 0.587, 0.114])
    one = found(png(given), channels=1)
    assert one.pixels.shape == (12, 20, 1) and abs(one.pixels[..., 0] - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1"])
def test_8_bits_with_and_without_transparency(mode: str, encode: Encode) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (12, 20, 4), np.uint8)
    image = Image.fromarray(colors).convert(mode)
    one = found(encode(image))
    assert one.pixels.dtype == np.uint8 and one.profile is None
    expected = np.asarray(image.convert("RGBA"))
    assert (one.pixels == expected[..., :3]).all(), "colors under what is transparent, too"
    assert one.alpha is None if mode in ("L", "RGB", "1") else one.alpha is not None and (one.alpha == expected[..., 3]).all()
    opaque = colors.copy()
    opaque[..., 3] = 255
    assert found(encode(opaque)).alpha is None


def test_a_palette_may_be_transparent(encode: Encode) -> None:
    image = Image.fromarray(np.arange(240, dtype=np.uint8).reshape(12, 20)).convert("P")
    one = found(encode(image, transparency=7))
    assert one.alpha is not None and np.argwhere(one.alpha == 0).tolist() == [[0, 7]]


def test_a_profile_of_such_pixels_is_kept(encode: Encode) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
    one = found(encode(colors, icc_profile=P3))
    assert one.profile == P3 and (one.pixels == colors).all()
    deep = values(3)
    one = found(png(deep, profile_chunk(P3)))
    assert one.profile == P3 and (one.pixels == deep).all()
    gray = found(encode(colors[..., 0], icc_profile=GRAY_PROFILE), channels=1)
    assert gray.profile == GRAY_PROFILE and (gray.pixels[..., 0] == colors[..., 0]).all()


@pytest.mark.parametrize("options", [{"icc_profile": P3}, {"icc_profile": b"no profile"}, {}])
def test_other_profiles_become_srgb_or_are_none(options: dict[str, Any], encode: Encode) -> None:
    """As in packing; a damaged one is ignored."""
    colors = np.random.default_rng(0).integers(60, 200, (12, 20, 3), np.uint8)
    one = found(encode(colors, **options), channels=1)
    plain = options.get("icc_profile") != P3
    expected = colors if plain else icc.as_srgb(colors, "Display P3")
    assert one.profile is None
    assert abs(one.pixels[..., 0] - np.clip(expected, 0, 255) @ np.array([0.299, 0.587, 0.114])).max() < (1 if plain else 2)


def test_gray_with_a_profile_becomes_srgb_for_a_model_of_colors() -> None:
    one = found(png(values(1), profile_chunk(GRAY_PROFILE)))
    assert one.profile is None and one.pixels.dtype == np.uint8 and (one.pixels[..., 0] == one.pixels[..., 2]).all()
    expected = 255 * icc.encoded((values(1)[..., 0] / 65535) ** 2.0)
    assert abs(one.pixels[..., 0] - expected).max() <= 2
