"""Kernels of blurs (Wang et al. 2021, Real-ESRGAN, section 3): Gaussians, broader and flatter forms of them, and the sinc filter.

A form is a function of q = x^T S^-1 x, where S has the deviations along two axes, turned by an angle (Liu et al. 2020).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from atelier.networks.resize import mirrored
from atelier.tasks.patch_adversarial import NamedDraws
from atelier.tasks.restoration.degradations.base import Drawn, choice, uniform

SMALLEST, SIZES = 7, 8  # 7, 9, ... 21 pixels
SHAPES = {
    "gaussian": 0.45,
    "gaussian_turned": 0.25,
    "generalized": 0.12,
    "generalized_turned": 0.03,
    "plateau": 0.12,
    "plateau_turned": 0.03,
}
SINC = 0.1  # probability of a sinc filter instead of any of these
SHARES = {**{name: share * (1 - SINC) for name, share in SHAPES.items()}, "sinc": SINC}
NAMES = tuple(SHARES)
EXPONENTS = {"generalized": (0.5, 4.0), "plateau": (1.0, 2.0)}  # half of them up to 1, half from 1 on
LARGE = 13  # pixels from which on a sinc filter may pass less


def draw_sizes(count: int, generator: torch.Generator) -> Tensor:
    """int64 [count]: odd sides of kernels."""
    return SMALLEST + 2 * torch.randint(SIZES, (count,), generator=generator)


def draw_kernels(count: int, sigma: tuple[float, float], generator: torch.Generator) -> NamedDraws:
    """What `kernel_of` needs, with deviations of `sigma` pixels."""
    size = draw_sizes(count, generator)
    shape = choice(count, list(SHARES.values()), generator)
    least = torch.where(size < LARGE, math.pi / 3, math.pi / 5)
    place = torch.rand(count, generator=generator)
    return NamedDraws(
        {
            "size": size,
            "shape": shape,
            "sigma_x": uniform(count, *sigma, generator),
            "sigma_y": uniform(count, *sigma, generator),
            "angle": uniform(count, -math.pi, math.pi, generator),
            "cutoff": least + (math.pi - least) * place,
            **{name: _exponents(count, *bounds, generator) for name, bounds in EXPONENTS.items()},
        }
    )


def _exponents(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    below, above = uniform(count, low, 1, generator), uniform(count, 1, high, generator)
    return torch.where(torch.rand(count, generator=generator) < 0.5, below, above)


def kernel_of(drawn: Drawn) -> Tensor:
    """float32 [size, size] by the draws of one image."""
    form, _, turned = NAMES[drawn["shape"]].partition("_")
    if form == "sinc":
        return sinc(drawn["size"], drawn["cutoff"])
    across = drawn["sigma_y"] if turned else drawn["sigma_x"]
    squares = distances(drawn["size"], drawn["sigma_x"], across, drawn["angle"])
    if form == "plateau":
        return plateau(squares, drawn["plateau"])
    return gaussian(squares, drawn["generalized"] if form == "generalized" else 1.0)


def distances(size: int, sigma_x: float, sigma_y: float, angle: float) -> Tensor:
    """q of each pixel from the center, float64 [size, size]; the axis of sigma_x is `angle` from the right towards below."""
    place = torch.arange(size, dtype=torch.float64) - size // 2
    right, down = place[None, :], place[:, None]
    along = math.cos(angle) * right + math.sin(angle) * down
    across = math.cos(angle) * down - math.sin(angle) * right
    return (along / sigma_x).square() + (across / sigma_y).square()


def gaussian(squares: Tensor, exponent: float = 1.0) -> Tensor:
    """exp(-q^exponent / 2), which another exponent than 1 makes a generalized Gaussian; sum 1."""
    return _normalized(torch.exp(-squares.pow(exponent) / 2))


def plateau(squares: Tensor, exponent: float) -> Tensor:
    """1 / (1 + q^exponent); sum 1."""
    return _normalized(1 / (1 + squares.pow(exponent)))


def sinc(size: int, cutoff: float) -> Tensor:
    """The ideal filter that passes frequencies up to `cutoff`, which rings: w J1(w r) / (2 pi r), cut to the size; sum 1."""
    place = torch.arange(size, dtype=torch.float64) - size // 2
    radius = torch.hypot(place[None, :], place[:, None])
    found = cutoff * torch.special.bessel_j1(cutoff * radius) / (2 * math.pi * radius)
    found[size // 2, size // 2] = cutoff**2 / (4 * math.pi)
    return _normalized(found)


def _normalized(kernel: Tensor) -> Tensor:
    return (kernel / kernel.sum()).float()


def blurred(image: Tensor, kernel: Tensor) -> Tensor:
    """An image [1, C, H, W] under an odd symmetric kernel, its borders mirrored."""
    channels = mirrored(image, len(kernel) // 2).transpose(0, 1)
    return F.conv2d(channels, kernel.to(image.device, image.dtype)[None, None]).transpose(0, 1)
