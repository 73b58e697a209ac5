"""Errors of images against their targets, pair by pair, and estimates of their means and medians.

PSNR   10 log10(255^2 / mean square error), of all channels together
SSIM   Wang et al. 2004, eq. 13, channel by channel: a Gaussian window of 11 px with deviation 1.5, where it lies inside the image
luma   Y of ITU-R BT.601 as MATLAB's rgb2ycbcr has it, 16 ... 235, but not rounded

Beside the error of an image stands that of its input, which is enlarged first where it is smaller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atelier.config.metrics import Value
from atelier.metrics.identity import MetricError
from atelier.metrics.metric import Results, View
from atelier.networks.resize import enlarged, shrunk
from atelier.tasks.sampling import Sample

PEAK = 255.0
WINDOW, DEVIATION = 11, 1.5
TINY = 1e-300  # for a row of zeros
C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
LUMA = np.array([65.481, 128.553, 24.966])  # of red, green and blue in 0 ... 1, above 16

Error = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Images and targets [n, C, H, W] of levels up to 255, uint8 as they come -> float64 [n]."""

Estimate = Callable[[np.ndarray], tuple[float, float | None]]
"""Values [n] -> a number and its standard error, None where that is not known."""


def mean_absolute_error(images: np.ndarray, target: np.ndarray) -> np.ndarray:
    """float64 [n] in [0, 1]: |difference|, of the whole range."""
    return np.abs(images.astype(np.int16) - target).mean(axis=(1, 2, 3), dtype=np.float64) / PEAK


def psnr(images: np.ndarray, target: np.ndarray) -> np.ndarray:
    """float64 [n] in decibels; an image that equals its target has `psnr_of_equals`, not infinity."""
    squares = np.square(images.astype(np.float64) - target).mean(axis=(1, 2, 3))
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


def luma(images: np.ndarray) -> np.ndarray:
    """Y of colored images uint8 [n, 3, H, W], float64 [n, 1, H, W]; gray ones are what they are."""
    if images.shape[1] == 1:
        return images.astype(np.float64)
    return 16 + np.einsum("nchw,c->nhw", images / PEAK, LUMA)[:, None]


def of_luma(error: Error) -> Error:
    """The same error of Y alone."""
    return lambda images, target: error(luma(images), luma(target))


def times_larger(target: np.ndarray, given: np.ndarray | None) -> int:
    """How many times larger targets are than inputs, both [n, C, H, W]; 0 where there are none, or by no whole number."""
    if given is None:
        return 0
    (height, width), (small_height, small_width) = target.shape[2:], given.shape[2:]
    factor: int = height // small_height
    return factor if (small_height * factor, small_width * factor) == (height, width) else 0


def as_large(given: np.ndarray, factor: int) -> np.ndarray:
    """uint8 images [n, C, h, w] enlarged by MATLAB's bicubic, which rounds to 8 bits; themselves where nothing is enlarged."""
    return given if factor < 2 else _of_8_bits(enlarged(torch.from_numpy(given.astype(np.float64)), factor))


def as_small(images: np.ndarray, factor: int) -> np.ndarray:
    """uint8 images [n, C, H, W] shrunk by MATLAB's bicubic, which rounds to 8 bits."""
    return _of_8_bits(shrunk(torch.from_numpy(images.astype(np.float64)), factor))


def _of_8_bits(levels: Tensor) -> np.ndarray:
    return levels.add(0.5).floor().clamp(0, PEAK).to(torch.uint8).numpy()


def alike(given: np.ndarray | None, target: np.ndarray) -> np.ndarray | None:
    """Inputs in the shape of their targets, smaller ones enlarged and gray ones repeated to color; None where none compare."""
    factor = times_larger(target, given)
    if given is None or not factor or given.shape[1] not in (1, target.shape[1]):
        return None
    return np.broadcast_to(as_large(given, factor), target.shape)


class PairReader:
    """Reads the error of each image against its target and that of its input, NaN where none compares, in a second column.

    The third is how many times larger the image is than its input, NaN likewise. With `border`, as many pixels of each side are
    left out where that is more than once: what is there depends on how the input was made. `least` is the side of the smallest
    image that has an error.
    """

    width = 3

    def __init__(self, error: Error, border: bool = False, least: int = 1) -> None:
        self.error, self.border, self.least = error, border, least

    def read(self, sample: Sample) -> np.ndarray:
        """float32 [n, 3] of a sample with targets. Raises MetricError for images that are too small."""
        assert sample.target is not None  # the metric needs it
        given, count = alike(sample.input, sample.target), len(sample.images)
        factor = times_larger(sample.target, sample.input) if given is not None else 0
        inner = self._inner(sample.target, factor)
        own, beside = self.error(sample.images[inner], sample.target[inner]), np.full(count, np.nan)
        if given is not None:
            beside = self.error(given[inner], sample.target[inner])
        return np.stack([own, beside, np.full(count, factor or np.nan)], axis=1).astype(np.float32)

    def _inner(self, target: np.ndarray, factor: int) -> tuple[slice, ...]:
        """The part of images [n, C, H, W] that counts."""
        border = factor if self.border and factor > 1 else 0
        height, width = target.shape[2:]
        if (left := min(height, width) - 2 * border) < self.least:
            raise MetricError(
                f"evaluate.metrics: of images of {height} x {width} px {left} are left without a border of {border} px, and ssim "
                f"looks through a window of {self.least} px; take ssim and ssim_y out"
            )
        return slice(None), slice(None), slice(border, height - border), slice(border, width - border)


class ConsistencyReader:
    """Reads the PSNR of inputs and of what is shrunk to their size: the images, the inputs enlarged, and the targets."""

    width = 3

    def read(self, sample: Sample) -> np.ndarray:
        """float32 [n, 3] of a sample with inputs and targets. Raises MetricError for images that are not larger."""
        assert sample.input is not None and sample.target is not None  # the metric needs them
        factor = times_larger(sample.images, sample.input)
        if factor < 2:
            raise MetricError(
                "evaluate.metrics: consistency shrinks images to the size of their inputs, and here they are not 2, 3, ... times "
                "larger; take consistency out"
            )
        sides = [as_small(side, factor) for side in (sample.images, as_large(sample.input, factor), sample.target)]
        return np.stack([psnr(side, sample.input) for side in sides], axis=1).astype(np.float32)


def results(view: View, estimates: Mapping[Value, Estimate], parameters: str, network: str = "", **identity: Any) -> Results:
    """The values of the errors that a PairReader has read, followed by those of the inputs where these compare.

    The first of the estimates is the mean, by whose name the errors of single images are known.
    `network` is the space of values that have one; `identity` as for `View.measurement`. A border that was left out, and inputs
    that were enlarged, are part of it.
    """
    own, beside, factors = view.columns.T
    factor = int(factors[0]) if np.isfinite(factors).all() else 0
    if view.reader.border and factor > 1:
        parameters += f"; {factor} px of each side left out"
    sides = [(own, estimates, parameters)]
    if factor:
        enlarged = {start_of(value, factor): estimate for value, estimate in estimates.items()}
        sides.append((beside, enlarged, f"{parameters}{how_enlarged(factor)}"))
    found = Results([])
    for values, estimates_of, how in sides:
        measured = [
            view.measurement(value, *estimate(values), how, **{"metric": value.name(network, False), **identity})
            for value, estimate in estimates_of.items()
        ]
        found.measurements.extend(measured)
        found.of_each[measured[0].name] = values
    return found


def start_of(value: Value, factor: int) -> Value:
    """The value of inputs that were enlarged by this factor, 1 for not at all."""
    return value.of_input if factor == 1 else value.of_bicubic


def how_enlarged(factor: int) -> str:
    """What an identity says of these inputs beside all else."""
    return "" if factor == 1 else f"; inputs enlarged {factor} times as MATLAB's imresize does"


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
