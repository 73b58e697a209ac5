"""Embedded color profiles, against the arithmetic of their definitions in float64 (icc.py writes and computes them)."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from atelier.data.color import Profile
from atelier.data.image_files import open_images
from atelier.data.process import Recipe, Square, guarded, process
from tests.support import icc
from tests.support.colors import ADOBE, P3
from tests.support.reading import Encode

GRAY = icc.profile("Gamma 1.8", 1.8, b"GRAY", "Gamma 1.8")
SHADES = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
SHADES[0, :8] = [(r, g, b) for r in (0, 255) for g in (0, 255) for b in (0, 255)]
# Beginnings of the sha256 of SHADES by P3 and ADOBE, of its red by GRAY. Where they change, machines or versions of LittleCMS
# no longer agree.
BYTES = {
    "P3": "030e22746c182145",
    "ADOBE": "74b491d95604eedd",
    "GRAY": "a34957c45f859adb",
}


def squared(content: bytes, channels: int = 3, background: str = "#000000") -> tuple[np.ndarray, Profile | None]:
    recipe = Recipe(32, channels, "crop", 0, "lanczos", background, 4, 10**6)
    with guarded(recipe):
        found: Square = process(content, recipe)
    return np.frombuffer(found.pixels, np.uint8).reshape(32, 32, channels), found.profile


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(("name", "gamma"), [("Display P3", None), ("Adobe RGB (1998)", icc.ADOBE_GAMMA), ("sRGB", 2.2)])
def test_colors_are_those_of_the_definition(format: str, name: str, gamma: float | None, encode: Encode) -> None:
    options: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
    found, profile = squared(encode(SHADES, format, icc_profile=icc.profile(name, gamma), **options))
    expected = icc.as_srgb(SHADES.astype(float), name, gamma)
    assert abs(found - expected).max() < 1 and profile == Profile(name)
    assert abs(SHADES - expected).max() > 5, "what was taken for sRGB before"


def other_srgb() -> dict[str, bytes]:
    """sRGB as others write it: with a curve as a formula and another description, with colorants rounded otherwise."""
    built_in = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rounded = icc.profile("sRGB", described="sRGB IEC61966-2.1")
    for column, other in zip(icc.to_d50("sRGB").T, [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708),
                                                    (0.14307, 0.06061, 0.7141)], strict=True):  # fmt: skip
        mine, theirs = (icc._xyz(np.array(values)) for values in (column, other))
        assert rounded.count(mine) == 1
        rounded = rounded.replace(mine, theirs)
    return {"built in": built_in, "as a table": icc.profile("sRGB"), "rounded": rounded,
            "of another name": icc.profile("sRGB", described="c2")}  # fmt: skip


@pytest.mark.parametrize("kind", list(other_srgb()))
def test_srgb_changes_no_bit(kind: str, encode: Encode) -> None:
    content = other_srgb()[kind]
    for pixels in (SHADES, SHADES[..., 0], np.dstack([SHADES, SHADES[..., 0]])):
        for channels in (1, 3):
            bare, profile = squared(encode(pixels), channels)
            assert profile is None
            with_profile, profile = squared(encode(pixels, icc_profile=content), channels)
            assert profile is None and np.array_equal(bare, with_profile)


def test_transparency_stays_and_the_background_is_srgb(encode: Encode) -> None:
    alpha = np.where(np.arange(32) < 16, 0, 255).astype(np.uint8)[None].repeat(32, 0)
    expected = icc.as_srgb(SHADES.astype(float), "Display P3")
    expected[:, :16] = (18, 52, 86)
    found, profile = squared(encode(np.dstack([SHADES, alpha]), icc_profile=P3), background="#123456")
    assert abs(found - expected).max() < 1 and profile == Profile("Display P3")


def test_gray_images(encode: Encode) -> None:
    """By a profile of grays, also with 16 bits and transparency; by one of colors as three equal values."""
    gray = SHADES[..., 0]
    expected = 255 * icc.encoded((gray / 255) ** 1.8)
    for pixels in (gray, np.dstack([gray, np.full_like(gray, 255)]), gray.astype(np.uint16) * 257):
        for channels in (1, 3):
            found, profile = squared(encode(pixels, icc_profile=GRAY), channels)
            assert abs(found - expected[..., None]).max() < 2 and profile == Profile("Gamma 1.8")
    by_colors, profile = squared(encode(gray, icc_profile=ADOBE), 1)
    assert abs(by_colors[..., 0] - 255 * icc.encoded((gray / 255) ** icc.ADOBE_GAMMA)).max() <= 1 and profile


def test_a_palette(encode: Encode) -> None:
    image = Image.fromarray(SHADES).quantize(16)
    file = io.BytesIO()
    image.save(file, "PNG", icc_profile=P3)
    found, profile = squared(file.getvalue())
    assert abs(found - icc.as_srgb(np.asarray(image.convert("RGB")).astype(float), "Display P3")).max() < 1 and profile


def test_ink_by_the_profile_of_its_press() -> None:
    """The 16 mixtures of no and full C, M, Y, K, printed on a press of colors of its own, and one between paper and black."""
    lab = np.random.default_rng(3).integers([60, 90, 90], [230, 166, 166], (2, 2, 2, 2, 3)).astype(np.uint8)
    lab[0, 0, 0, 0], lab[..., 1, :] = (255, 128, 128), (0, 128, 128)
    inks = np.stack(np.meshgrid(*[[0, 255]] * 4, indexing="ij"), axis=-1).reshape(16, 4).astype(np.uint8)
    image = Image.fromarray(np.repeat(np.repeat(inks.reshape(4, 4, 4), 8, 0), 8, 1), "CMYK")
    file = io.BytesIO()
    image.save(file, "TIFF", icc_profile=icc.ink(lab))
    found, profile = squared(file.getvalue())
    expected = icc.lab_as_srgb(lab.astype(float)).reshape(4, 4, 3)
    assert profile == Profile("Press") and abs(found[4::8, 4::8] - expected).max() < 2
    file = io.BytesIO()
    image.save(file, "TIFF")
    assert squared(file.getvalue())[1] is None, "without one as before: the inks are the complements of red, green and blue"


NO_PROFILES = {
    "text": b"not a profile",
    "zeros": bytes(128),
    "its head": P3[:200],
    "without an end": P3[:-500],
    "abstract": P3.replace(b"mntr", b"abst"),
    "of another space": P3.replace(b"RGB ", b"Luv "),
    "of grays": GRAY,
    "of inks": icc.ink(np.zeros((2, 2, 2, 2, 3), np.uint8)),
}


@pytest.mark.parametrize("kind", NO_PROFILES)
def test_what_is_no_profile_of_these_pixels_is_ignored_and_counted(kind: str, encode: Encode) -> None:
    found, profile = squared(encode(SHADES, icc_profile=NO_PROFILES[kind]))
    assert np.array_equal(found, SHADES) and profile is not None and profile.broken


def test_a_profile_that_cannot_be_unpacked_is_counted(encode: Encode) -> None:
    content = bytearray(encode(SHADES, icc_profile=P3))
    first = content.index(b"iCCP")
    (size,) = struct.unpack(">I", content[first - 4 : first])
    chunk = b"iCCPicc\0\0" + bytes(size - 5)  # what follows is no zlib stream
    content[first : first + 8 + size] = chunk + struct.pack(">I", zlib.crc32(chunk))
    found, profile = squared(bytes(content))
    assert np.array_equal(found, SHADES) and profile == Profile("", broken=True)


def test_names_stay_short_and_on_one_line(encode: Encode) -> None:
    _, profile = squared(encode(SHADES, icc_profile=icc.profile("Display P3", described="a\nb" + "c" * 500)))
    assert profile == Profile("a b" + "c" * 61)
    assert squared(encode(SHADES, icc_profile=icc.profile("Display P3", described=" ")))[1] == Profile("without a name")


def test_every_machine_converts_to_these_bytes(encode: Encode) -> None:
    contents = {"P3": (SHADES, P3), "ADOBE": (SHADES, ADOBE), "GRAY": (SHADES[..., 0], GRAY)}
    found = {name: squared(encode(pixels, icc_profile=profile))[0] for name, (pixels, profile) in contents.items()}
    assert {name: hashlib.sha256(pixels.tobytes()).hexdigest()[:16] for name, pixels in found.items()} == BYTES


def test_measured_folders_say_that_profiles_are_not_applied(
    tmp_path: Path, encode: Encode, pictures: Callable[..., list[np.ndarray]]
) -> None:
    for number, picture in enumerate(pictures(4)):
        profile = [P3, None, icc.profile("sRGB"), ADOBE][number]
        (tmp_path / f"{number}.png").write_bytes(encode(picture, **({"icc_profile": profile} if profile else {})))
    images = open_images(tmp_path, progress=False)
    assert images.notes == [
        "2 of 4 images have a color profile other than sRGB, which is not applied, as in torch-fidelity: 0.png, 3.png"
    ]
    assert np.array_equal(images.images(np.array([0]))[0].transpose(1, 2, 0), pictures(4)[0])
