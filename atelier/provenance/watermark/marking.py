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
from atelier.provenance.watermark.spectrum import SIDE, Analyzed, analyzed, pattern, resized, turned

SMALLEST = SIDE  # pixels of the shorter side from which on one picture is named alone; further ones are named together
TOGETHER: dict[Strength, int] = {"light": 16, "full": 4}  # smaller pictures that are found, if they are unlike each other
WANTED = 1e-8  # probability, corrected, at which it is found after each trial
NEEDED, NEEDED_ELSEWHERE = needed(WANTED, VERSIONS, SHIFTS), needed(WANTED, VERSIONS, ELSEWHERE)  # cosines
FIRST, MOST = 6.0, 16.0  # levels of a mark, root mean square: that is tried first, and that is never exceeded
FURTHER = 1.6  # times as strong is tried next, until one is found
ENOUGH = 0.04  # share of a cosine beyond what is needed: nearer is not looked for, and half of it is aimed at
STEPS = 6  # amplitudes that are tried; three are usual
QUALITY, NOISE = 75, 5.0  # of the trials
CROPPED = SCALES[2]  # share of each side: three quarters, at a size that is looked at
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in JPEG


def marked(picture: Image.Image, direction: np.ndarray, strength: Strength) -> Image.Image:
    """The picture (L or RGB) with the mark of this direction, complex [COEFFICIENTS] of length 1.

    From SMALLEST pixels on it is found in this picture alone; below, in TOGETHER of them.
    """
    pixels = np.asarray(picture, np.float32)
    height, width = pixels.shape[:2]
    side = min(height, width)
    if side < SMALLEST:
        added = _resized(_pattern(analyzed(resized(luminance(pixels))), direction), height, width)
        return Image.fromarray(_added(pixels, _amplitude(pixels, added, _in_many(direction, strength), -1.0) * added))
    shape = round(height * SIDE / side), round(width * SIDE / side)
    small = picture if shape == (height, width) else picture.resize(shape[::-1], Image.Resampling.BICUBIC)
    tried = np.asarray(small, np.float32)
    seen = analyzed(luminance(tried))
    moved = turned(direction, *_best_place(seen, direction))
    added = _pattern(seen, moved)
    amplitude = _amplitude(tried, added, _in_one(moved, strength), _cosine(seen.unit, moved) / NEEDED - 1)
    return Image.fromarray(_added(pixels, amplitude * _resized(added, height, width)))


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Levels [H, W] or [H, W, 3] -> [H, W]."""
    return pixels if pixels.ndim == 2 else pixels @ LUMA


Trial = Callable[[np.ndarray], float]
"""How far the cosine of a changed picture's vector and a direction is beyond what is needed, as a share of that."""


def _in_one(direction: np.ndarray, strength: Strength) -> list[Trial]:
    """For pictures [h, w] that are SIDE pixels high or wide, and a direction at the place of its mark."""

    def cropped(picture: np.ndarray) -> float:
        return float(cosines(_after_a_crop(picture), direction).max()) / NEEDED_ELSEWHERE - 1

    changed = [_trial(change, direction, NEEDED) for change in (_after_half_size_and_jpeg, _after_noise)]
    return [*changed, cropped] if strength == "full" else changed


def _in_many(direction: np.ndarray, strength: Strength) -> list[Trial]:
    """For small pictures [h, w], whose marks have one place: what each needs if they are unlike each other."""
    each = needed_of_each(TOGETHER[strength])
    return [_trial(change, direction, each) for change in (_after_jpeg, _after_noise)]


def needed_of_each(count: int) -> float:
    """The cosine by which so many pictures that are unlike each other are found together.

    The sum of n vectors of length 1 and cosine c, which are orthogonal else, has the cosine n c / sqrt(n + n (n - 1) c^2).
    """
    return NEEDED / float(np.sqrt(count - (count - 1) * NEEDED**2))


def _trial(change: Callable[[np.ndarray], np.ndarray], direction: np.ndarray, needed: float) -> Trial:
    return lambda picture: _cosine(change(picture), direction) / needed - 1


def _best_place(seen: Analyzed, direction: np.ndarray) -> tuple[float, float]:
    place = cosines(seen.unit, direction)
    down, right = np.unravel_index(int(place.argmax()), place.shape)
    return float(down), float(right)


def _pattern(seen: Analyzed, direction: np.ndarray) -> np.ndarray:
    """What is added to a picture [h, w] that is SIDE pixels high or wide, of mean square 1."""
    added = pattern(direction, seen.spectrum, *seen.contrast.shape) * np.sqrt(seen.contrast)
    return np.asarray(added / np.sqrt(np.mean(added**2)), np.float32)


def _amplitude(pixels: np.ndarray, added: np.ndarray, trials: list[Trial], without: float) -> float:
    """The weakest mark, in levels, that stands all trials with little to spare, by false position; MOST where none does.

    `without` is what a picture has beyond what is needed before it is marked.
    """
    low, high, weakest = (0.0, without), None, MOST
    tried = FIRST
    for _ in range(STEPS):
        beyond = _least(luminance(_added(pixels, tried * added).astype(np.float32)), trials) - ENOUGH / 2
        if beyond >= -ENOUGH / 2:
            if high:
                low = low[0], low[1] / 2  # else it would stay (Illinois)
            high, weakest = (tried, beyond), tried
            if beyond <= ENOUGH / 2:
                break
        elif tried == MOST:
            break
        else:
            low = tried, beyond
        tried = min(FURTHER * tried, MOST) if high is None else low[0] - (high[0] - low[0]) * low[1] / (high[1] - low[1])
    return weakest


def _least(picture: np.ndarray, trials: list[Trial]) -> float:
    """The least that is beyond what is needed, or the first that is below it; that trial comes first from then on."""
    found = float("inf")
    for trial in tuple(trials):
        beyond = trial(picture)
        if beyond < found:
            found = beyond
            trials.remove(trial)
            trials.insert(0, trial)
        if found < 0:
            break
    return found


def _added(pixels: np.ndarray, change: np.ndarray) -> np.ndarray:
    moved = pixels + (change if pixels.ndim == 2 else change[..., None])
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)


def _resized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    if picture.shape == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def _cosine(unit: np.ndarray, direction: np.ndarray) -> float:
    return float(np.vdot(direction, unit).real)


def _unit(picture: np.ndarray) -> np.ndarray:
    return analyzed(resized(picture)).unit


def _after_half_size_and_jpeg(picture: np.ndarray) -> np.ndarray:
    whole = Image.fromarray(np.rint(picture).astype(np.uint8))
    return _unit(compressed(whole.resize((whole.width // 2, whole.height // 2), Image.Resampling.BILINEAR)))


def _after_jpeg(picture: np.ndarray) -> np.ndarray:
    return _unit(compressed(Image.fromarray(np.rint(picture).astype(np.uint8))))


def compressed(picture: Image.Image) -> np.ndarray:
    """Levels float32 [H, W] or [H, W, 3] of a picture that was written as JPEG of QUALITY and read again."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(file, formats=["JPEG"]), np.float32)


def _after_noise(picture: np.ndarray) -> np.ndarray:
    return _unit(np.clip(np.rint(picture + _noise(*picture.shape)), 0, 255))


@lru_cache(maxsize=16)
def _noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, NOISE, (height, width)).astype(np.float32)


def _after_a_crop(picture: np.ndarray) -> np.ndarray:
    height, width = (round(side * CROPPED) for side in picture.shape)
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return analyzed(picture[top : top + height, left : left + width]).unit
