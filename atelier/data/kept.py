"""A picture in its own size: with all that its file holds (16 bits, transparency beside the colors, and their profile), or flat.

What is flat has 8 bits of sRGB over a background, as what is packed, see atelier.data.process.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from atelier.data.color import profile_mode, to_srgb
from atelier.data.errors import Rejected
from atelier.data.process import (
    FORMATS,
    Recipe,
    decoded,
    embedded_profile,
    gray_of_16_bits,
    has_16_bits,
    orient,
    plain,
    rejecting,
    shown,
)

GRAY = ("1", "L", "LA")
LUMA = np.array([299, 587, 114])  # thousandths, as Pillow has them (ITU-R BT.601)
# Pillow's decoders take the upper byte of each value of 16 bits; that of the other order of bytes takes the lower one.
OTHER = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
GRAY_AND_ALPHA = "LA;16B"  # whose four bytes a pixel are read as they are
PLANES_APART = 2  # of TIFF's PlanarConfiguration


@dataclass(frozen=True)
class Kept:
    """A picture: `pixels` uint8 or uint16 [H, W, C], `alpha` [H, W] of the same type, `profile` of what colors they are.

    `alpha` is None where all is opaque, `profile` where colors are sRGB.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    profile: bytes | None


def kept(content: bytes, recipe: Recipe) -> Kept:
    """The picture of a file, turned by its EXIF, in gray or color as `recipe.channels` says. Raises Rejected with the reason.

    Colors stay what they are where their profile is of such pixels. Others become sRGB, which has 8 bits.
    """
    image, mode = decoded(content, recipe), "L" if recipe.channels == 1 else "RGB"
    deep = gray_of_16_bits(image)[..., None] if has_16_bits(image) else _deep(content, image, recipe)
    embedded = embedded_profile(image)
    described = None if embedded is None else profile_mode(embedded)
    gray = image.mode in GRAY if deep is None else deep.shape[2] < 3
    fits = described == mode and gray == (mode == "L")
    profile = embedded if fits else None
    if deep is not None and (described is None or fits):
        return Kept(*_of_16_bits(deep, image.info.get("transparency"), recipe.channels), profile)
    image = plain(image)
    if not fits:
        image, _ = to_srgb(image, embedded)
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
    return Kept(_stacked(image.convert(mode)), _unless_opaque(alpha), profile)


def flat(content: bytes, recipe: Recipe) -> Kept:
    """The picture of a file as it is seen: turned by its EXIF, in 8 bits of sRGB, over the background. Raises Rejected."""
    return Kept(_stacked(shown(content, recipe)), None, None)


def _of_16_bits(values: np.ndarray, transparent: Any, channels: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels and alpha of values [H, W, 1 to 4], of which those that are `transparent` are, where that is known."""
    colors, alpha = (values[..., :-1], values[..., -1]) if values.shape[2] in (2, 4) else (values, None)
    if alpha is None and isinstance(transparent, int | tuple):
        alpha = np.where((colors == np.array(transparent)).all(axis=2), 0, 65535).astype(np.uint16)
    if colors.shape[2] < channels:
        colors = colors.repeat(channels, axis=2)
    elif colors.shape[2] > channels:
        colors = ((colors @ LUMA + 500) // 1000)[..., None].astype(np.uint16)
    return np.ascontiguousarray(colors), _unless_opaque(alpha)


def _deep(content: bytes, image: Image.Image, recipe: Recipe) -> np.ndarray | None:
    """Values uint16 [H, W, C] of a PNG or TIFF in color or with alpha, None where it has no 16 bits a value.

    `image` is what Pillow has decoded of it, the upper bytes.
    """
    with rejecting(recipe), Image.open(io.BytesIO(content), formats=FORMATS) as second:
        kinds = {_raw_mode(tile.args) for tile in second.tile}
        if second.format not in ("PNG", "TIFF") or not any(kind.partition(";")[2] in OTHER for kind in kinds):
            return None
        (kind, *others) = kinds
        planes = getattr(second, "tag_v2", {}).get(ExifTags.Base.PlanarConfiguration)
        known = ("RGB;16", "RGBA;16", "LA;16B") if second.mode in ("RGB", "RGBA") else ()
        if others or planes == PLANES_APART or not kind.startswith(known):
            raise Rejected(f"16 bits a value as {kind} are not read faithfully; convert it to a PNG of 16 bits")
        wanted = "RGBA" if kind == GRAY_AND_ALPHA else kind.partition(";")[0] + ";" + OTHER[kind.partition(";")[2]]
        second.tile = [tile._replace(args=_with_raw_mode(tile.args, wanted)) for tile in second.tile]
        second.load()
        orient(second)
    lower = np.asarray(second).astype(np.uint16)
    if kind == GRAY_AND_ALPHA:
        return lower[..., ::2] << 8 | lower[..., 1::2]
    return np.asarray(image).astype(np.uint16) << 8 | lower


def _raw_mode(args: Any) -> str:
    return str(args[0] if isinstance(args, tuple) else args)


def _with_raw_mode(args: Any, mode: str) -> Any:
    return (mode, *args[1:]) if isinstance(args, tuple) else mode


def _stacked(image: Image.Image) -> np.ndarray:
    """Pixels uint8 [H, W, C]."""
    values = np.asarray(image)
    return values if values.ndim == 3 else values[..., None]


def _unless_opaque(alpha: np.ndarray | None) -> np.ndarray | None:
    return None if alpha is None or (alpha == np.iinfo(alpha.dtype).max).all() else alpha
