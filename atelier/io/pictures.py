"""Images as pictures that people look at."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

GAP, GAP_COLOUR = 1, 96
LONGEST = 4096  # side of a contact sheet in pixels
QUALITIES = (85, 60, 40)  # of WebP, for pictures that are too large as PNG


def grid(images: np.ndarray, columns: int, scale: int = 2) -> Image.Image:
    """A contact sheet of uint8 images [N,C,H,W] (C is 1 or 3), row by row, each pixel `scale` x `scale`, with thin gaps.

    A sheet that would be longer than LONGEST has a smaller scale; where 1 is still too much, blocks of pixels are averaged.
    """
    rows = -(-len(images) // columns)
    longest = max(rows * (images.shape[2] + GAP), columns * (images.shape[3] + GAP))
    scale = max(1, min(scale, LONGEST // longest))
    if longest > LONGEST:
        images = _averaged(images, -(-longest // LONGEST))
    count, channels, height, width = images.shape
    sheet = np.full((rows, height + GAP, columns, width + GAP, channels), GAP_COLOUR, np.uint8)
    cells = np.full((rows * columns, height, width, channels), GAP_COLOUR, np.uint8)
    cells[:count] = images.transpose(0, 2, 3, 1)
    sheet[:, :height, :, :width] = cells.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    flat = sheet.reshape(rows * (height + GAP), columns * (width + GAP), channels)[:-GAP, :-GAP]
    picture = Image.fromarray(flat[..., 0] if channels == 1 else flat)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def colored(labels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Label maps uint8 [N, 1, H, W] as pictures [N, 3, H, W]; classes that the palette uint8 [K, 3] has not are black."""
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(palette)] = palette
    return np.ascontiguousarray(colors[labels[:, 0]].transpose(0, 3, 1, 2))


def in_color(images: np.ndarray) -> np.ndarray:
    """Images uint8 [N, C, H, W] in three channels, gray ones repeated."""
    return images.repeat(3 // images.shape[1], axis=1)


def _averaged(images: np.ndarray, side: int) -> np.ndarray:
    """The images with the means of blocks of `side` x `side` pixels, those at the right and lower edge smaller, for pixels."""
    parts = [Image.fromarray(image).reduce(side) for image in images.reshape(-1, *images.shape[2:])]
    return np.stack([np.asarray(part) for part in parts]).reshape(*images.shape[:2], parts[0].height, parts[0].width)


def png(picture: Image.Image) -> bytes:
    """The picture as PNG bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def data_uri(picture: Image.Image, most: int) -> str:
    """The picture for a page: a PNG where that has at most `most` bytes, else WebP of lower quality and, at last, smaller.

    Viewers such as Kubeflow's load a page whole.
    """
    kind, encoded = "png", png(picture)
    for quality in QUALITIES:
        if len(encoded) <= most:
            break
        kind, encoded = "webp", _webp(picture, quality)
    while len(encoded) > most and min(picture.size) > 1:
        picture = picture.reduce(2)
        encoded = _webp(picture, QUALITIES[-1])
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"


def _webp(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()
