"""MATLAB's imresize in float64, its weights written out one by one."""

from __future__ import annotations

import numpy as np


def cubic(x: float) -> float:
    """Keys 1981, equation 15, with a = -1/2."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def weights(side: int, scale: float) -> np.ndarray:
    """float64 [round(side * scale), side]: what each new pixel takes of each old one, those outside being mirrored inside."""
    narrow = min(scale, 1.0)
    found = np.zeros((round(side * scale), side))
    for row, own in enumerate(found):
        center = (row + 0.5) / scale - 0.5
        first = int(np.floor(center - 2 / narrow))
        for place in range(first, first + int(np.ceil(4 / narrow)) + 2):
            inside = place
            while not 0 <= inside < side:
                inside = -1 - inside if inside < 0 else 2 * side - 1 - inside
            own[inside] += narrow * cubic(narrow * (center - place))
    return found / found.sum(axis=1, keepdims=True)


def imresize(images: np.ndarray, scale: float) -> np.ndarray:
    """float64 [..., H, W] of any values -> the resized images."""
    return np.asarray(weights(images.shape[-2], scale) @ images @ weights(images.shape[-1], scale).T)


def of_8_bits(images: np.ndarray) -> np.ndarray:
    """Levels of 255 as uint8, halves rounded up as MATLAB does."""
    return np.floor(images + 0.5).clip(0, 255).astype(np.uint8)
