"""Embedded color profiles: pixels of Display P3, Adobe RGB, a scanner or a printing press -> sRGB, by LittleCMS within Pillow.

Relative colorimetric with black point compensation: a color inside sRGB's gamut keeps its place, one outside goes to the border,
black stays black. Perceptual would be the other choice; most profiles have no table for it, and those that have one each move all
colors in a way of their own. A profile that is sRGB within one level of 255, whatever it is called, changes nothing, not a bit.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from atelier.io.storage import CONTROL

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
INTENT, FLAGS = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
DEVICES = {"scnr", "mntr", "prtr", "spac"}  # classes of profiles that say what the values of an image mean
MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
KEPT = 16  # conversions of this process; a set has few profiles
LONGEST_NAME = 64


@dataclass(frozen=True)
class Profile:
    """What became of an image's profile: `name` is its description; a `broken` one does not fit the image, or is damaged."""

    name: str
    broken: bool = False


@dataclass(frozen=True)
class _Conversion:
    """From the mode of a profile to RGB; `transform` is None where it would change nothing."""

    name: str
    mode: str
    transform: ImageCms.ImageCmsTransform | None


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, Profile | None]:
    """The image with its colors as sRGB, of mode RGB or RGBA if it was converted, and by which profile; None for by none.

    Transparency stays what it is. A gray image with a profile of colors is one of three equal values.
    """
    if profile is None:
        return image, None
    conversion = _conversion(profile)
    if conversion is None or not _fits(image, conversion.mode):
        return image, Profile(conversion.name if conversion else "", broken=True)
    if conversion.transform is None:
        return image, None
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    plain = image if image.mode == conversion.mode else image.convert("RGB").convert(conversion.mode)
    converted = conversion.transform.apply(plain)
    if alpha is not None:
        converted.putalpha(alpha)
    return converted, Profile(conversion.name)


def profile_mode(profile: bytes) -> str | None:
    """The mode of the pixels that a profile is for: RGB, L or CMYK; None for a damaged one, or one of something else."""
    conversion = _conversion(profile)
    return None if conversion is None else conversion.mode


def changes_colors(image: Image.Image) -> bool:
    """Whether `to_srgb` would convert the image, which need not be loaded."""
    profile = image.info.get("icc_profile")
    conversion = _conversion(profile) if profile else None
    return conversion is not None and conversion.transform is not None and _fits(image, conversion.mode)


def _fits(image: Image.Image, mode: str) -> bool:
    gray = image.mode in ("1", "L", "LA")
    if mode == "RGB":
        return image.mode != "CMYK"
    return gray if mode == "L" else image.mode == mode


@lru_cache(KEPT)
def _conversion(content: bytes) -> _Conversion | None:
    """None for what is no profile of an image, or damaged."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        mode = MODES.get(profile.profile.xcolor_space.strip())
        if mode is None or profile.profile.device_class not in DEVICES:
            return None
        name = CONTROL.sub(" ", ImageCms.getProfileDescription(profile)).strip()[:LONGEST_NAME] or "without a name"
        transform = ImageCms.buildTransform(profile, SRGB, mode, "RGB", INTENT, FLAGS)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):  # all that Pillow raises for what LittleCMS refuses
        return None
    return _Conversion(name, mode, None if mode != "CMYK" and _changes_nothing(transform, mode) else transform)


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether no color that is tried moves by more than one level: 16 steps of each channel, and every gray."""
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    colors = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    grays = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    tried = grays if mode == "L" else np.concatenate([colors, grays], axis=1)
    found = np.asarray(transform.apply(Image.fromarray(tried).convert(mode)))
    return bool(abs(found.astype(int) - tried).max() <= 1)
