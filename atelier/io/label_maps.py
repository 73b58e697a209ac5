"""Label maps: pictures whose colors, or whose values, are classes -> one class index for each pixel.

Nothing is rounded to the nearest class: a color that is none of the classes' is refused by name. Colors are those of the file,
whatever its color profile says of them.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

IGNORED = 255  # the index of what is of no class, "don't care"
MOST = 255  # classes
GRAYS = ("1", "L", "I;16", "I")  # modes of one value a pixel that is a gray
VALUED = (*GRAYS, "P")  # modes of one value a pixel, which may be an index
SHOWN = 3  # colors that a reason names


class MapError(ValueError):
    """A picture is no label map of these classes; the text says what it holds and what to do."""


@dataclass(frozen=True)
class Legend:
    """What the pixels of a label map mean: names[i] is the class of index i, and marks[i] its color (0xRRGGBB) or its value.

    `ignored` is the color or value of what is of no class, None where everything is.
    """

    names: tuple[str, ...]
    marks: tuple[int, ...]
    indexed: bool = False  # the marks are values of files with one value a pixel, and no colors
    ignored: int | None = None

    def read(self, image: Image.Image) -> np.ndarray:
        """Class indices uint8 [H, W], IGNORED where a pixel is of no class. Raises MapError naming what is unknown."""
        values = _values(image) if self.indexed else _colors(image)
        known = {mark: index for index, mark in enumerate(self.marks)}
        if self.ignored is not None:
            known[self.ignored] = IGNORED
        marks = np.array(sorted(known), np.int32)
        places = np.searchsorted(marks, values).clip(max=len(marks) - 1)
        strange = values[marks[places] != values]
        if len(strange):
            raise MapError(self._of_no_class(image, strange))
        return np.array([known[mark] for mark in marks.tolist()], np.uint8)[places]

    def _of_no_class(self, image: Image.Image, strange: np.ndarray) -> str:
        found, counts = np.unique(strange, return_counts=True)
        values = found[np.argsort(-counts, kind="stable")].tolist()
        some = ", ".join(str(value) if self.indexed else hexadecimal(value) for value in values[:SHOWN])
        more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
        kind = "value" if self.indexed else "color"
        reason = f"holds the {kind}{'s' if len(values) > 1 else ''} {some}{more}, of no class"
        if image.format == "JPEG":
            return f"{reason}: JPEG changes colors; draw it anew and save it as PNG"
        if not self.indexed and image.mode in VALUED and _values(image).max() < len(self.names):
            return f"{reason}; if its values are indices, say so (classes: {{{self.names[0]}: 0, ...}})"
        return f"{reason}; name its class, or draw it without antialiasing in the classes' own {kind}s"


def hexadecimal(color: int) -> str:
    """0xff0000 -> #ff0000."""
    return f"#{color:06x}"


def painted(indices: np.ndarray, colors: Sequence[int]) -> Image.Image:
    """Class indices uint8 [H, W] as a picture with a palette: index i in colors[i], what is of no class in a color of none."""
    beside = next(color for color in range(len(colors) + 1) if color not in colors)
    picture = Image.fromarray(indices).convert("P")
    palette = [*colors, *[beside] * (IGNORED + 1 - len(colors))]
    picture.putpalette([value for color in palette for value in color.to_bytes(3, "big")])
    return picture


def distinct(count: int) -> list[int]:
    """So many colors 0xRRGGBB, none of them a gray, of which those beside each other differ most."""
    found = []
    for index in range(count):
        hue, saturation, value = index * 0.6180339887 % 1, (1.0, 0.65, 0.85)[index % 3], (0.95, 0.6)[index // 3 % 2]
        found.append(int.from_bytes(bytes(round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value)), "big"))
    return found


def _values(image: Image.Image) -> np.ndarray:
    """The values of a file with one a pixel, int32 [H, W]."""
    if image.mode not in VALUED:
        raise MapError(f"pixels of mode {image.mode} are no indices; save it in gray or with a palette, one value a pixel")
    return np.asarray(image).astype(np.int32)


def _colors(image: Image.Image) -> np.ndarray:
    """Colors 0xRRGGBB, int32 [H, W]."""
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        raise MapError(f"pixels of mode {image.mode} are no colors of classes; save it as PNG with 8 bits a value")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise MapError("has transparent pixels, which are of no class; fill them")
    parts = np.asarray(image.convert("RGB")).astype(np.int32)
    return parts[..., 0] << 16 | parts[..., 1] << 8 | parts[..., 2]
