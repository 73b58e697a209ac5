"""Images as pictures that people look at."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

GAP, GAP_COLOUR = 1, 96


def grid(images: np.ndarray, columns: int, scale: int = 2) -> Image.Image:
    """A contact sheet of uint8 images [N,C,H,W] (C is 1 or 3), row by row, each pixel `scale` x `scale`, with thin gaps."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows, height + GAP, columns, width + GAP, channels), GAP_COLOUR, np.uint8)
    cells = np.full((rows * columns, height, width, channels), GAP_COLOUR, np.uint8)
    cells[:count] = images.transpose(0, 2, 3, 1)
    sheet[:, :height, :, :width] = cells.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    flat = sheet.reshape(rows * (height + GAP), columns * (width + GAP), channels)[:-GAP, :-GAP]
    picture = Image.fromarray(flat[..., 0] if channels == 1 else flat)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def png(picture: Image.Image) -> bytes:
    """The picture as PNG bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
