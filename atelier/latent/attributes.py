"""What can be measured of an image without a network: the attributes that directions are named by and fitted to.

Shape is that of what differs from the background, the median of the border: its moments about its center of mass.
"""

from __future__ import annotations

import numpy as np

GRAY = ("brightness", "contrast", "detail", "width", "height", "slant", "size", "roundness", "x_position", "y_position")
COLOR = ("saturation", "warmth", "greenness")


def names(channels: int) -> tuple[str, ...]:
    """The attributes of images with so many channels."""
    return GRAY if channels == 1 else (*GRAY, *COLOR)


def measured(images: np.ndarray) -> dict[str, np.ndarray]:
    """uint8 [N, C, H, W] -> float64 [N] of each attribute.

    brightness, contrast: mean and standard deviation of luma in [0, 1]; detail: the mean difference of neighboring pixels.
    width, height: standard deviations, in sides of the image, of where the shape is. slant: how far its columns lean to the
    right, 1 for 45 degrees. size: the share of the image that the shape covers (the inverse participation ratio of its pixels).
    roundness: its shorter axis over its longer one, from 0 for a line to 1 for a disk. x_position, y_position: its center of
    mass, from 0 on the left and at the top to 1. saturation: the mean distance of a pixel's colors; warmth: red minus blue;
    greenness: green minus the mean of red and blue.
    """
    pixels = images.astype(np.float64) / 255
    gray = pixels.mean(axis=1)
    side = gray.shape[1]
    border = np.concatenate([gray[:, 0], gray[:, -1], gray[:, :, 0], gray[:, :, -1]], axis=1)
    mass = np.abs(gray - np.median(border, axis=1)[:, None, None]) + 1e-9
    mass /= mass.sum(axis=(1, 2), keepdims=True)
    place = (np.arange(side) + 0.5) / side
    columns, rows = mass.sum(axis=1), mass.sum(axis=2)
    middle_x, middle_y = columns @ place, rows @ place
    x, y = place[None] - middle_x[:, None], place[None] - middle_y[:, None]
    across, down = (columns * x**2).sum(axis=1), (rows * y**2).sum(axis=1)
    both = np.einsum("nyx,ny,nx->n", mass, y, x)
    steps = np.abs(np.diff(gray, axis=1)).mean(axis=(1, 2)) + np.abs(np.diff(gray, axis=2)).mean(axis=(1, 2))
    longer = (across + down) / 2 + np.hypot((across - down) / 2, both)  # eigenvalues of the moments, whose sum is across + down
    found = {
        "brightness": gray.mean(axis=(1, 2)),
        "contrast": gray.std(axis=(1, 2)),
        "detail": steps / 2,
        "width": np.sqrt(across),
        "height": np.sqrt(down),
        "slant": -both / np.maximum(down, 1e-9),
        "size": 1 / (side * gray.shape[2] * np.square(mass).sum(axis=(1, 2))),
        "roundness": np.sqrt(np.clip(across + down - longer, 0, None) / np.maximum(longer, 1e-9)),
        "x_position": middle_x,
        "y_position": middle_y,
    }
    if images.shape[1] == 3:
        found["saturation"] = (pixels.max(axis=1) - pixels.min(axis=1)).mean(axis=(1, 2))
        found["warmth"] = (pixels[:, 0] - pixels[:, 2]).mean(axis=(1, 2))
        found["greenness"] = (pixels[:, 1] - (pixels[:, 0] + pixels[:, 2]) / 2).mean(axis=(1, 2))
    return found
