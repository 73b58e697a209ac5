"""The detectors that are compared: what each looks at, how it learns, and its scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Self

import numpy as np
import torch
from scipy.fft import dctn
from torch import nn

from atelier.detection import logistic, network
from atelier.detection.residuals import residuals
from atelier.extractors import load_extractor
from atelier.metrics.fitting import arrays

Tensors = dict[str, np.ndarray]
LOW, HIGH = 1, 5  # levels just above black, which generators give to what is black in real images
FAINT = 1e-3  # levels squared, below which no frequency counts


class Detector(ABC):
    """What tells generated images from real ones, once it has learnt.

    `kind` is its name in a file, `title` what people read. Images are uint8 [N, C, H, W], rows [N, ...] what it sees of them.
    """

    kind: ClassVar[str]
    title: str

    @abstractmethod
    def rows(self, images: np.ndarray) -> np.ndarray:
        """What it sees of images: of each by itself, and the same whatever it has learnt."""

    @abstractmethod
    def learn(self, real: np.ndarray, generated: np.ndarray, seed: int, progress: bool = True) -> Self:
        """A detector that has learnt from rows [V, N, ...] of images in V versions."""

    @abstractmethod
    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Logits float64 [N]: the higher, the more an image looks generated."""

    @abstractmethod
    def tensors(self) -> Tensors:
        """What it has learnt, by name."""


class Network(Detector):
    """A small CNN."""

    kind, title = "network", "small network"

    def __init__(self, channels: int, shown: int, made: nn.Module | None = None) -> None:
        self.channels, self.shown, self.made = channels, shown, made

    @classmethod
    def of(cls, tensors: Tensors, channels: int) -> Self:
        """The one whose `tensors` these are. Raises RuntimeError where they do not fit."""
        made = network.network(channels, seed=0)
        made.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
        return cls(channels, 0, made.eval().requires_grad_(False))

    def rows(self, images: np.ndarray) -> np.ndarray:
        return images

    def learn(self, real: np.ndarray, generated: np.ndarray, seed: int, progress: bool = True) -> Self:
        made = network.fit(real, generated, self.shown, seed, "detector", progress)
        return type(self)(self.channels, self.shown, made)

    def scores(self, rows: np.ndarray) -> np.ndarray:
        assert self.made
        return network.scores(self.made, rows)

    def tensors(self) -> Tensors:
        assert self.made
        return arrays(self.made)


class Linear(Detector):
    """Lines through what `look` sees of images: float [N, D].

    One for real and one for generated images in each version, which is told with them: what gives a generator away in an image as
    it is need not in one that was compressed.
    """

    def __init__(self, look: Callable[[np.ndarray], np.ndarray], lines: logistic.Lines | None = None) -> None:
        self.look, self.lines = look, lines

    def rows(self, images: np.ndarray) -> np.ndarray:
        return self.look(images)

    def learn(self, real: np.ndarray, generated: np.ndarray, seed: int, progress: bool = True) -> Self:
        parts = [*real, *generated]
        outcomes = np.repeat(np.arange(len(parts)), [len(one) for one in parts])
        return self.with_lines(logistic.fit(np.concatenate(parts), outcomes))

    def with_lines(self, lines: logistic.Lines) -> Self:
        """The same with what has been learnt."""
        return type(self)(self.look, lines)

    def scores(self, rows: np.ndarray) -> np.ndarray:
        assert self.lines
        return self.lines.scores(rows)

    def tensors(self) -> Tensors:
        assert self.lines
        return {name: getattr(self.lines, name) for name in ("mean", "scale", "slopes", "offsets")}

    @classmethod
    def lines_of(cls, tensors: Tensors) -> logistic.Lines:
        """The lines that `tensors` wrote; until November 2026 there was one. Raises LookupError, ValueError."""
        mean, scale = tensors["mean"], tensors["scale"]
        if "slope" in tensors:
            slope, offset = tensors["slope"], tensors["offset"]
            return logistic.Lines(mean, scale, np.stack([0 * slope, slope], axis=1), np.append(0.0, offset))
        slopes, offsets = tensors["slopes"], tensors["offsets"]
        if slopes.shape != (len(mean), len(offsets)) or len(offsets) % 2:
            raise ValueError(f"slopes are of shape {slopes.shape}, beside {len(mean)} columns and {len(offsets)} outcomes")
        return logistic.Lines(mean, scale, slopes, offsets)


class Features(Linear):
    """Lines through the features of EfficientNet-Lite0, as Ojha et al. 2023 (UnivFD) draw one through CLIP's."""

    kind, title = "features", "EfficientNet-Lite0 and lines"

    @classmethod
    def at(cls, side: int, device: torch.device | str = "cpu") -> Self:
        """For images of `side` pixels."""
        return cls(load_extractor("efficientnet_lite0", "packaged", (side, side), device).features)


class Spectrum(Linear):
    """Lines through the logarithms of the spectrum (Frank et al. 2020), where upsampling leaves peaks."""

    kind, title = "spectrum", "spectrum and lines"

    def __init__(self, look: Callable[[np.ndarray], np.ndarray] | None = None, lines: logistic.Lines | None = None) -> None:
        super().__init__(look or log_spectrum, lines)


class Residuals(Linear):
    """Lines through how often which neighboring values differ by how much."""

    kind, title = "residuals", "neighboring differences and lines"

    def __init__(self, look: Callable[[np.ndarray], np.ndarray] | None = None, lines: logistic.Lines | None = None) -> None:
        super().__init__(look or residuals, lines)


class Scalar(Linear):
    """A threshold on one number: what a detector has to beat, and what tells whether a set is trivial."""

    kind = "scalar"

    def __init__(self, title: str, look: Callable[[np.ndarray], np.ndarray], lines: logistic.Lines | None = None) -> None:
        super().__init__(look, lines)
        self.title = title

    def learn(self, real: np.ndarray, generated: np.ndarray, seed: int, progress: bool = True) -> Self:
        """From all versions as if they were one, or it were no threshold."""
        return super().learn(real.reshape(1, -1, 1), generated.reshape(1, -1, 1), seed, progress)

    def with_lines(self, lines: logistic.Lines) -> Self:
        return type(self)(self.title, self.look, lines)


def log_spectrum(images: np.ndarray) -> np.ndarray:
    """Logarithms of the squared DCT-II (orthonormal), averaged over channels: float32 [N, H * W]."""
    power = np.square(dctn(images.astype(np.float32), axes=(2, 3), norm="ortho")).mean(axis=1)
    return np.log(power + FAINT).reshape(len(images), -1)


def nearly_black(images: np.ndarray) -> np.ndarray:
    """Share of values at levels 1 to 5, float64 [N, 1]."""
    return _share((images >= LOW) & (images <= HIGH))


def flat(images: np.ndarray) -> np.ndarray:
    """Share of values that equal their right neighbor, float64 [N, 1]."""
    return _share(images[..., 1:] == images[..., :-1])


def extreme(images: np.ndarray) -> np.ndarray:
    """Share of values that are 0 or 255, float64 [N, 1]."""
    return _share((images == 0) | (images == 255))


def detail(images: np.ndarray) -> np.ndarray:
    """Logarithm of the power in the upper half of frequencies, over all but the mean: float64 [N, 1]."""
    power = np.square(dctn(images.astype(np.float64), axes=(2, 3), norm="ortho")).mean(axis=1)
    side = power.shape[1]
    upper = np.maximum.outer(np.arange(side), np.arange(power.shape[2])) >= side // 2
    power[:, 0, 0] = 0
    return np.log((power[:, upper].sum(axis=1) + FAINT) / (power.sum(axis=(1, 2)) + FAINT))[:, None]


def _share(which: np.ndarray) -> np.ndarray:
    return which.mean(axis=(1, 2, 3))[:, None]


SCALARS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "values at levels 1 to 5": nearly_black,
    "values as their neighbor": flat,
    "values at 0 or 255": extreme,
    "power of high frequencies": detail,
}


def compared(channels: int, side: int, shown: int, device: torch.device | str = "cpu") -> list[Detector]:
    """The four detectors for images of `side` pixels, and the single numbers, none of which has learnt yet."""
    scalars = [Scalar(title, look) for title, look in SCALARS.items()]
    return [Network(channels, shown), Features.at(side, device), Spectrum(), Residuals(), *scalars]


def learnt(kind: str, tensors: Tensors, channels: int, side: int) -> Detector:
    """The detector of a file. Raises LookupError for a kind that there is not, and LookupError, ValueError, RuntimeError for
    tensors that do not fit."""
    makers: dict[str, Callable[[], Detector]] = {
        "network": partial(Network.of, tensors, channels),
        "features": lambda: Features.at(side).with_lines(Linear.lines_of(tensors)),
        "spectrum": lambda: Spectrum().with_lines(Linear.lines_of(tensors)),
        "residuals": lambda: Residuals().with_lines(Linear.lines_of(tensors)),
    }
    return makers[kind]()
