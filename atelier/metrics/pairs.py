"""Errors of images against their targets, pair by pair, and estimates of their means and medians.

PSNR   10 log10(255^2 / mean square error), of all channels together
SSIM   Wang et al. 2004, eq. 13, channel by channel: a Gaussian window of 11 px with deviation 1.5, where it lies inside the image
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from atelier.config.metrics import Value
from atelier.metrics.identity import Measurement
from atelier.metrics.metric import View
from atelier.tasks.sampling import Sample

PEAK = 255.0
WINDOW, DEVIATION = 11, 1.5
TINY = 1e-300  # for a row of zeros
C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2

Error = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""uint8 images and targets [n, C, H, W] -> float64 [n]."""

Estimate = Callable[[np.ndarray], tuple[float, float | None]]
"""Values [n] -> a number and its standard error, None where that is not known."""


def mean_absolute_error(images: np.ndarray, target: np.ndarray) -> np.ndarray:
    """float64 [n] in [0, 1]: |difference|, of the whole range."""
    return np.abs(images.astype(np.int16) - target).mean(axis=(1, 2, 3), dtype=np.float64) / PEAK


def psnr(images: np.ndarray, target: np.ndarray) -> np.ndarray:
    """float64 [n] in decibels; an image that equals its target has `psnr_of_equals`, not infinity."""
    squares = np.square(images.astype(np.int32) - target).mean(axis=(1, 2, 3), dtype=np.float64)
    return 10 * np.log10(PEAK**2 / np.maximum(squares, 1 / images[0].size))


def psnr_of_equals(shape: tuple[int, ...]) -> float:
    """The PSNR of images of this shape that differ by one level in one value of one pixel."""
    return 10 * math.log10(PEAK**2 * math.prod(shape))


def ssim(images: np.ndarray, target: np.ndarray) -> np.ndarray:
    """float64 [n] in [-1, 1], the mean over places and channels; images have at least 11 px a side."""
    return np.array([_ssim(*(x.astype(np.float64) for x in pair)) for pair in zip(images, target, strict=True)])


def _ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Of two images float64 [C, H, W]."""
    mx, my, xx, yy, xy = map(_windowed, (x, y, x * x, y * y, x * y))
    luminance = (2 * mx * my + C1) / (mx * mx + my * my + C1)
    structure = (2 * (xy - mx * my) + C2) / ((xx - mx * mx) + (yy - my * my) + C2)
    return float((luminance * structure).mean())


def _windowed(x: np.ndarray) -> np.ndarray:
    """Means under the window, [C, H, W] -> [C, H - 10, W - 10]."""
    place = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(place**2) / (2 * DEVIATION**2))
    weights /= weights.sum()
    height, width = (side - WINDOW + 1 for side in x.shape[1:])
    rows = sum(w * x[:, i : i + height] for i, w in enumerate(weights))
    return np.asarray(sum(w * rows[:, :, i : i + width] for i, w in enumerate(weights)))


def alike(given: np.ndarray | None, target: np.ndarray) -> np.ndarray | None:
    """Inputs in the shape of their targets, gray ones repeated to color; None where there are none, or of another size."""
    if given is None or given.shape[2:] != target.shape[2:] or given.shape[1] not in (1, target.shape[1]):
        return None
    return np.broadcast_to(given, target.shape)


class PairReader:
    """Reads the error of each image against its target and, in a second column, that of its input, NaN where none compares."""

    width = 2

    def __init__(self, error: Error) -> None:
        self.error = error

    def read(self, sample: Sample) -> np.ndarray:
        """float32 [n, 2] of a sample with targets."""
        assert sample.target is not None  # the metric needs it
        own, untranslated = self.error(sample.images, sample.target), np.full(len(sample.images), np.nan)
        given = alike(sample.input, sample.target)
        if given is not None:
            untranslated = self.error(given, sample.target)
        return np.stack([own, untranslated], axis=1).astype(np.float32)


def measurements(
    view: View, estimates: Mapping[Value, Estimate], parameters: str, network: str = "", **identity: Any
) -> list[Measurement]:
    """The values of the errors that a PairReader has read, followed by those of the inputs where these compare.

    `network` is the space of values that have one; `identity` as for `View.measurement`.
    """
    own, untranslated = view.columns.T
    found = [(value, *estimate(own)) for value, estimate in estimates.items()]
    if np.isfinite(untranslated).all():
        found += [(value.of_input, *estimate(untranslated)) for value, estimate in estimates.items()]
    return [
        view.measurement(value, number, error, parameters, **{"metric": value.name(network, False), **identity})
        for value, number, error in found
    ]


def mean(values: np.ndarray) -> tuple[float, float | None]:
    """The mean and its standard error, None of a single value."""
    count = len(values)
    return float(values.mean(dtype=np.float64)), float(values.std(ddof=1, dtype=np.float64) / count**0.5) if count > 1 else None


def median(values: np.ndarray) -> tuple[float, float | None]:
    """The median and a standard error that makes its 95 % interval as wide as that between the ranks that hold it.

    These are count / 2 -+ 1.96 sqrt(count) / 2, of the binomial law, whatever the values' distribution; None of fewer than 8.
    """
    count, ranked = len(values), np.sort(values.astype(np.float64))
    reach = 1.96 * count**0.5 / 2
    low, high = math.floor(count / 2 - reach), math.ceil(count / 2 + reach)
    error = float(ranked[high] - ranked[low - 1]) / 2 / 1.96 if low >= 1 and high < count else None
    return float(np.median(ranked)), error


def cosine_distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """1 - cosine of each row with its partner, float64 [N] in [0, 2]: half the squared distance of unit vectors, 0 of equals."""
    units = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), TINY) for rows in map(np.float64, (one, other))]
    return np.square(units[0] - units[1]).sum(axis=1) / 2
