"""Puts a watermark on: each picture gets the weakest one that is found after what it has to withstand.

The mark's pattern follows the square root of the picture's contrast, so that flat parts change less, and lies where the picture
has most of it already: whoever looks for it tries all places and pays for their number, so that the best one is free ("dirty
paper": Costa 1983; Miller, Doerr and Cox, "Applying informed coding and embedding", IEEE Trans. Image Processing 13(6), 2004).
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from atelier.provenance.watermark.finding import ELSEWHERE, SCALES, SHIFTS, chance, cosines
from atelier.provenance.watermark.key import VERSIONS, Strength
from atelier.provenance.watermark.spectrum import SIDE, analyzed, pattern, resized, turned

SMALLEST = SIDE  # pixels of the shorter side; below, a mark that is found in one picture alone is a visible one
WANTED = 1e-8  # probability, corrected, at which it is found after each trial
LEAST, MOST = 0.5, 16.0  # levels of a mark, root mean square
STEPS = 6  # halvings of that range, of its logarithm: to 6 %
QUALITY, NOISE = 75, 5.0  # of the trials
CROPPED = SCALES[2]  # share of each side: three quarters, at a size that is looked at
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in JPEG


def marked(picture: Image.Image, direction: np.ndarray, strength: Strength) -> Image.Image:
    """The picture (L or RGB, SMALLEST pixels or more) with the mark of this direction, complex [COEFFICIENTS] of length 1."""
    pixels = np.asarray(picture, np.float32)
    height, width = pixels.shape[:2]
    factor = SIDE / min(height, width)
    shape = max(round(height * factor), 1), max(round(width * factor), 1)
    small = picture if shape == (height, width) else picture.resize(shape[::-1], Image.Resampling.BICUBIC)
    added = _pattern(luminance(np.asarray(small, np.float32)), direction)
    amplitude = _amplitude(np.asarray(small, np.float32), added, direction, strength)
    whole = added if shape == (height, width) else _enlarged(added, height, width)
    return Image.fromarray(_added(pixels, amplitude * whole))


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Levels [H, W] or [H, W, 3] -> [H, W]."""
    return pixels if pixels.ndim == 2 else pixels @ LUMA


def _pattern(picture: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """What is added to a picture [h, w] that is SIDE pixels high or wide, of mean square 1."""
    seen = analyzed(picture)
    place = cosines(seen.unit, direction)
    down, right = np.unravel_index(int(place.argmax()), place.shape)
    added = pattern(turned(direction, float(down), float(right)), seen.spectrum, *picture.shape) * np.sqrt(seen.contrast)
    return np.asarray(added / np.sqrt(np.mean(added**2)), np.float32)


def _amplitude(pixels: np.ndarray, added: np.ndarray, direction: np.ndarray, strength: Strength) -> float:
    """The weakest mark, in levels, that is found after each trial; MOST where none is."""
    trials = TRIALS[strength]
    low, high = np.log(LEAST), np.log(MOST)
    for _ in range(STEPS):
        middle = (low + high) / 2
        tried = luminance(_added(pixels, np.exp(middle) * added).astype(np.float32))
        if all(trial(tried, direction) < WANTED for trial in trials):
            high = middle
        else:
            low = middle
    return float(np.exp(high))


def _added(pixels: np.ndarray, change: np.ndarray) -> np.ndarray:
    moved = pixels + (change if pixels.ndim == 2 else change[..., None])
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)


def _enlarged(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def _after_half_size_and_jpeg(picture: np.ndarray, direction: np.ndarray) -> float:
    whole = Image.fromarray(np.rint(picture).astype(np.uint8))
    file = io.BytesIO()
    whole.resize((whole.width // 2, whole.height // 2), Image.Resampling.BILINEAR).save(file, "JPEG", quality=QUALITY)
    return _whole(np.asarray(Image.open(file), np.float32), direction)


def _after_noise(picture: np.ndarray, direction: np.ndarray) -> float:
    noise = np.random.default_rng(0).normal(0, NOISE, picture.shape)
    return _whole(np.clip(np.rint(picture + noise), 0, 255), direction)


def _after_a_crop(picture: np.ndarray, direction: np.ndarray) -> float:
    height, width = (round(side * CROPPED) for side in picture.shape)
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    unit = analyzed(picture[top : top + height, left : left + width]).unit
    return chance(float(cosines(unit, direction).max()), VERSIONS, ELSEWHERE)


def _whole(picture: np.ndarray, direction: np.ndarray) -> float:
    return chance(float(cosines(analyzed(resized(picture)).unit, direction).max()), VERSIONS, SHIFTS)


Trial = Callable[[np.ndarray, np.ndarray], float]
"""The corrected probability of a mark's direction in a picture [h, w] after something was done to it."""

TRIALS: dict[Strength, list[Trial]] = {
    "light": [_after_half_size_and_jpeg, _after_noise],
    "full": [_after_a_crop, _after_half_size_and_jpeg, _after_noise],
}
