"""What is looked at of a picture: a unit vector of its middle frequencies, after its own contrast and spectrum are divided out.

The shorter side becomes 64 pixels, whatever the size of the picture, and what is longer is added up in tiles of 64 x 64, so that
a shift of the picture is a turn of each coefficient (Kalker et al., "A video watermarking system for broadcast monitoring", SPIE
3657, 1999). Dividing by local contrast and by the smoothed spectrum makes pixels and frequencies of any picture about equally
strong; nothing of the generator has to be known or kept for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

SIDE = 64  # pixels of the shorter side, and of a tile
LOWEST, HIGHEST = 2, 13  # cycles a side: below are the shapes of pictures, above is what half size and JPEG take away
MEAN, CONTRAST = 2.5, 3.0  # standard deviations in pixels of the windows in which mean and contrast are measured
FLOOR = 3.0  # levels of contrast that are added, so that flat parts do not count as signal
SMOOTHED = 5  # coefficients a side over which the spectrum is averaged
_ROWS, _COLUMNS = np.meshgrid(np.fft.fftfreq(SIDE, 1 / SIDE).astype(int), np.arange(SIDE // 2), indexing="ij")
_RADII = np.hypot(_ROWS, _COLUMNS)
BAND = (_RADII >= LOWEST) & (_RADII <= HIGHEST) & ((_COLUMNS > 0) | (_ROWS > 0))  # of each pair of conjugates one
ROWS, COLUMNS = _ROWS[BAND], _COLUMNS[BAND]
COEFFICIENTS = len(ROWS)
NEAR = np.arange(-HIGHEST - SMOOTHED // 2, HIGHEST + SMOOTHED // 2 + 1)  # of a side: the band, and what is averaged with it
DIMENSIONS = 2 * COEFFICIENTS


@dataclass(frozen=True)
class Analyzed:
    """A picture in the middle frequencies.

    `unit` is complex [COEFFICIENTS] of length 1; `spectrum`, float of the same shape, is what coefficients were divided by, and
    `contrast`, float [h, w] in levels, what pixels were.
    """

    unit: np.ndarray
    spectrum: np.ndarray
    contrast: np.ndarray


def resized(picture: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Luminance [H, W] in levels -> float32, with a shorter side of SIDE * `scale` pixels."""
    height, width = picture.shape
    factor = SIDE * scale / min(height, width)
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    whole = picture.astype(np.float32, copy=False)
    return whole if size == (width, height) else np.asarray(Image.fromarray(whole).resize(size, Image.Resampling.BICUBIC))


def flattened(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A resized picture [h, w] without its local mean and divided by its local contrast, and that contrast; float32 both."""
    detail = picture - _blurred(picture, MEAN)
    contrast = np.sqrt(np.maximum(_blurred(detail**2, CONTRAST), 0)) + FLOOR
    return detail / contrast, contrast


def rotated(flat: np.ndarray, degrees: float) -> np.ndarray:
    """A flattened picture [h, w], turned counterclockwise on a larger one of zeros."""
    if not degrees:
        return flat
    turning = Image.fromarray(flat)
    return np.asarray(turning.rotate(degrees, Image.Resampling.BICUBIC, expand=True))


def analyzed(picture: np.ndarray) -> Analyzed:
    """A resized picture [h, w] in the middle frequencies."""
    flat, contrast = flattened(picture)
    return Analyzed(*coefficients(flat), contrast)


def coefficients(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is looked at of a flattened picture [h, w], and what its coefficients were divided by, both [COEFFICIENTS]."""
    down = WAVES @ _tile(flat)
    transformed = (down[: len(NEAR)] - np.complex64(1j) * down[len(NEAR) :]) @ ACROSS  # a product: few are wanted
    power = transformed.real**2 + transformed.imag**2
    spectrum = np.sqrt(MEAN_OF_ROWS @ power @ MEAN_OF_COLUMNS)[ROWS + HIGHEST, COLUMNS] + 1e-9
    whitened = transformed[ROWS - NEAR[0], COLUMNS - NEAR_RIGHT[0]] / spectrum
    return whitened / max(float(np.linalg.norm(whitened)), 1e-12), spectrum


def turned(unit: np.ndarray, down: float, right: float) -> np.ndarray:
    """The coefficients of a picture that is moved by so many pixels of SIDE."""
    return unit * np.exp(-2j * np.pi * (ROWS * down + COLUMNS * right) / SIDE)


def pattern(unit: np.ndarray, spectrum: np.ndarray, height: int, width: int) -> np.ndarray:
    """Float [height, width] of mean square 1: the flattened picture that moves coefficients most in the direction `unit`."""
    whole = np.zeros((SIDE, SIDE), complex)
    whole[ROWS, COLUMNS] = unit / spectrum
    tile = np.fft.ifft2(whole).real
    repeated = np.tile(tile, (-(-height // SIDE), -(-width // SIDE)))[:height, :width]
    return repeated / np.sqrt(np.mean(repeated**2))


def _tile(flat: np.ndarray) -> np.ndarray:
    height, width = flat.shape
    rows, columns = -(-height // SIDE), -(-width // SIDE)
    if flat.shape == (SIDE, SIDE):
        return flat
    padded = np.zeros((rows * SIDE, columns * SIDE), np.float32)
    padded[:height, :width] = flat
    return padded.reshape(rows, SIDE, columns, SIDE).sum(axis=(0, 2))


def _blurred(picture: np.ndarray, deviation: float) -> np.ndarray:
    height, width = picture.shape
    blurred: np.ndarray = blurring(height, deviation) @ picture @ blurring(width, deviation).T
    return blurred


@lru_cache(maxsize=256)
def blurring(side: int, deviation: float) -> np.ndarray:
    """A Gaussian window as a matrix [side, side], mirrored at the edges."""
    reach = round(4 * deviation)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    mirrored = np.pad(np.eye(side), ((reach, reach), (0, 0)), mode="symmetric")
    return np.stack([weights / weights.sum() @ mirrored[row : row + 2 * reach + 1] for row in range(side)]).astype(np.float32)


def _means(count: int) -> np.ndarray:
    """Means over SMOOTHED neighbors as a matrix [count, count + SMOOTHED - 1]."""
    each = np.eye(count + SMOOTHED - 1, dtype=np.float32)
    return np.stack([each[row : row + SMOOTHED].mean(axis=0) for row in range(count)])


_PHASES = 2 * np.pi * np.outer(NEAR, np.arange(SIDE)) / SIDE
WAVES = np.concatenate([np.cos(_PHASES), np.sin(_PHASES)]).astype(np.float32)
NEAR_RIGHT = NEAR[NEAR >= -(SMOOTHED // 2)]
ACROSS = np.exp(-2j * np.pi * np.outer(np.arange(SIDE), NEAR_RIGHT) / SIDE).astype(np.complex64)
MEAN_OF_ROWS, MEAN_OF_COLUMNS = _means(2 * HIGHEST + 1), _means(HIGHEST + 1).T
