"""Puts a watermark on: each picture gets the weakest one that is found after what it has to withstand.

The mark's pattern follows the square root of the picture's contrast, so that flat parts change less, and lies where the picture
has most of it already: whoever looks for it tries all places and pays for their number, so that the best one is free ("dirty
paper": Costa 1983; Miller, Doerr and Cox, "Applying informed coding and embedding", IEEE Trans. Image Processing 13(6), 2004).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image

from atelier.provenance.watermark.finding import ELSEWHERE, SCALES, SHIFTS, cosines, needed
from atelier.provenance.watermark.key import VERSIONS, Strength
from atelier.provenance.watermark.spectrum import SIDE, analyzed, pattern, resized, turned

SMALLEST = SIDE  # pixels of the shorter side; below, a mark that is found in one picture alone is a visible one
WANTED = 1e-8  # probability, corrected, at which it is found after each trial
NEEDED, NEEDED_ELSEWHERE = needed(WANTED, VERSIONS, SHIFTS), needed(WANTED, VERSIONS, ELSEWHERE)  # cosines
FIRST, MOST = 6.0, 16.0  # levels of a mark, root mean square: that is tried first, and that is never exceeded
FURTHER = 1.6  # times as strong is tried next, until one is found
ENOUGH = 0.012  # of a cosine beyond what is wanted, a few hundredths of it: nearer is not looked for
STEPS = 6  # amplitudes that are tried; three are usual
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
    """The weakest mark, in levels, that is found after each trial, by false position; MOST where none is."""
    low, high, weakest = (0.0, -NEEDED), None, MOST
    tried = FIRST
    for _ in range(STEPS):
        picture = luminance(_added(pixels, tried * added).astype(np.float32))
        beyond = min(trial(picture, direction) for trial in TRIALS[strength])
        if beyond >= 0:
            if high:
                low = low[0], low[1] / 2  # else it would stay (Illinois)
            high, weakest = (tried, beyond), tried
            if beyond <= ENOUGH:
                break
        elif tried == MOST:
            break
        else:
            low = tried, beyond
        if high is None:
            tried = min(FURTHER * tried, MOST)
        else:
            tried = low[0] - (high[0] - low[0]) * low[1] / (high[1] - low[1])
    return weakest


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
    return _whole(np.clip(np.rint(picture + _noise(*picture.shape)), 0, 255), direction)


@lru_cache(maxsize=16)
def _noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, NOISE, (height, width)).astype(np.float32)


def _after_a_crop(picture: np.ndarray, direction: np.ndarray) -> float:
    height, width = (round(side * CROPPED) for side in picture.shape)
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    unit = analyzed(picture[top : top + height, left : left + width]).unit
    return float(cosines(unit, direction).max()) - NEEDED_ELSEWHERE


def _whole(picture: np.ndarray, direction: np.ndarray) -> float:
    return float(cosines(analyzed(resized(picture)).unit, direction).max()) - NEEDED


Trial = Callable[[np.ndarray, np.ndarray], float]
"""How far the cosine of a picture [h, w] and a direction is beyond what is wanted, after something was done to the picture."""

TRIALS: dict[Strength, list[Trial]] = {
    "light": [_after_half_size_and_jpeg, _after_noise],
    "full": [_after_a_crop, _after_half_size_and_jpeg, _after_noise],
}
