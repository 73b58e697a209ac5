"""The degradations of Real-ESRGAN (Wang et al. 2021, section 3, and its published settings): of two orders, and a sinc filter.

An order is blur, resizing, noise and JPEG. What is published is drawn once a batch; here it is drawn for each image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from atelier.tasks.patch_adversarial import NamedDraws
from atelier.tasks.restoration.degradations import kernels
from atelier.tasks.restoration.degradations.base import (
    Degradation,
    Drawn,
    choice,
    eight_bits,
    happens,
    seeded,
    seeds,
    uniform,
)
from atelier.tasks.restoration.degradations.jpeg import compressed

MODES = ("area", "bilinear", "bicubic")  # of resizing, drawn alike
GAUSSIAN, GRAY = 0.5, 0.4  # probabilities of Gaussian noise, else Poisson's, and of the same noise in all channels
QUALITIES = (30, 95)
LAST_SINC, JPEG_LAST = 0.8, 0.5  # probabilities
LUMA = (0.2989, 0.5870, 0.1140)


@dataclass(frozen=True)
class Order:
    """The probabilities and ranges of one order; `resized` are those of a larger, a smaller and the same size."""

    blurred: float
    sigma: tuple[float, float]
    resized: tuple[float, float, float]
    factors: tuple[float, float]
    gaussian: tuple[float, float]
    poisson: tuple[float, float]

    def draw(self, count: int, generator: torch.Generator) -> NamedDraws:
        """What an order does to each image."""
        (low, high), size = self.factors, choice(count, self.resized, generator)
        larger, smaller = uniform(count, 1, high, generator), uniform(count, low, 1, generator)
        return NamedDraws(
            {
                "kernel": kernels.draw_kernels(count, self.sigma, generator),
                "blurred": happens(count, self.blurred, generator),
                "factor": torch.stack([larger, smaller, torch.ones(count)]).gather(0, size[None])[0],
                "mode": torch.randint(len(MODES), (count,), generator=generator),
                "is_gaussian": happens(count, GAUSSIAN, generator),
                "gaussian": uniform(count, *self.gaussian, generator),
                "poisson": uniform(count, *self.poisson, generator),
                "gray": happens(count, GRAY, generator),
                "seed": seeds(count, generator),
                "quality": _qualities(count, generator),
            }
        )


FIRST = Order(1.0, (0.2, 3.0), (0.2, 0.7, 0.1), (0.15, 1.5), (1, 30), (0.05, 3.0))
SECOND = Order(0.8, (0.2, 1.5), (0.3, 0.4, 0.3), (0.3, 1.2), (1, 25), (0.05, 2.5))


class RealESRGAN(Degradation):
    """Blur, resizing, noise and JPEG twice, ending at 1 / `scale` of the image's sides."""

    def __init__(self, scale: int) -> None:
        self.scale = scale

    def draw(self, count: int, generator: torch.Generator) -> NamedDraws:
        last = {
            "mode": torch.randint(len(MODES), (count,), generator=generator),
            "sinc": happens(count, LAST_SINC, generator),
            "size": kernels.draw_sizes(count, generator),
            "cutoff": uniform(count, math.pi / 3, math.pi, generator),
            "jpeg_last": happens(count, JPEG_LAST, generator),
        }
        orders = {"first": FIRST.draw(count, generator), "second": SECOND.draw(count, generator)}
        return NamedDraws({**orders, "last": NamedDraws(last)})

    def one(self, image: Tensor, drawn: Drawn) -> Tensor:
        """JPEG ends the first order; that of the second comes before or after the last resizing and the sinc filter."""
        first, second, last = (drawn[name] for name in ("first", "second", "last"))
        height, width = image.shape[2:]
        end = height // self.scale, width // self.scale
        image = compressed(_ordered(image, first, (height, width)), first["quality"])
        image = _ordered(image, second, end)
        if last["jpeg_last"]:
            return compressed(_last(image, last, end), second["quality"])
        return _last(compressed(image, second["quality"]), last, end).clamp(0, 1)


def _qualities(count: int, generator: torch.Generator) -> Tensor:
    low, high = QUALITIES
    return torch.randint(low, high + 1, (count,), generator=generator)


def _ordered(image: Tensor, drawn: Drawn, size: tuple[int, int]) -> Tensor:
    """An image after blur, resizing to the drawn factor of `size`, and noise."""
    if drawn["blurred"]:
        image = kernels.blurred(image, kernels.kernel_of(drawn["kernel"]))
    height, width = (max(1, int(side * drawn["factor"])) for side in size)
    image = _resized(image, (height, width), drawn["mode"])
    noisy = _gaussian if drawn["is_gaussian"] else _poisson
    return noisy(image, drawn).clamp(0, 1)


def _last(image: Tensor, drawn: Drawn, size: tuple[int, int]) -> Tensor:
    image = _resized(image, size, drawn["mode"])
    return kernels.blurred(image, kernels.sinc(drawn["size"], drawn["cutoff"])) if drawn["sinc"] else image


def _resized(image: Tensor, size: tuple[int, int], mode: int) -> Tensor:
    """Without antialiasing, which is part of what has to be restored."""
    return F.interpolate(image, size=size, mode=MODES[mode])


def _gaussian(image: Tensor, drawn: Drawn) -> Tensor:
    shape = (1, 1 if drawn["gray"] else image.shape[1], *image.shape[2:])
    noise = torch.randn(shape, generator=seeded(drawn["seed"])) * (drawn["gaussian"] / 255)
    return image + noise.to(image.device, non_blocking=True)


def _poisson(image: Tensor, drawn: Drawn) -> Tensor:
    """White is as many photons as the image, or its luma, has levels, rounded up to a power of 2; `poisson` scales the noise."""
    seen = eight_bits(image).cpu()
    if drawn["gray"] and seen.shape[1] == len(LUMA):
        seen = (seen * torch.tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
    photons = 2 ** math.ceil(math.log2(len(seen.unique())))
    noise = torch.poisson(seen * photons, seeded(drawn["seed"])) / photons - seen
    return image + drawn["poisson"] * noise.to(image.device, non_blocking=True)
