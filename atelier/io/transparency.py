"""Transparent pictures, which networks do not know: what lies under them shows."""

from __future__ import annotations

from PIL import Image


def opaque(image: Image.Image, mode: str, background: str) -> Image.Image:
    """The image in this mode, L or RGB, laid over the background (#rrggbb).

    Composition comes before resizing. It is linear, so this equals resizing premultiplied colors: what lies under transparent
    pixels does not bleed.
    """
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.has_transparency_data:
        backdrop = Image.new("RGBA", image.size, background)
        image = Image.alpha_composite(backdrop, image.convert("RGBA"))
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)
