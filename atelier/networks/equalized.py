"""Layers that progan and stylegan2 share: equalized learning rate, pixel norm, minibatch standard deviation."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from atelier.networks.layers import SLOPE, NetworkError, wide

EPSILON = 1e-8  # under roots (Karras et al. 2018, section 4.2)


class Scaled(nn.Module):
    """A parametrization: what the layer sees is the parameter times a constant."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, parameter: Tensor) -> Tensor:
        return parameter * self.scale

    def right_inverse(self, seen: Tensor) -> Tensor:
        return seen / self.scale


def equalized(layer: nn.Module, gain: float = 1.0, rate: float = 1.0) -> Any:
    """The layer with normal weights of standard deviation gain / sqrt(fan in), zero biases, and an equalized learning rate.

    Parameters are kept with standard deviation 1 / rate and are scaled when they are used (Karras et al. 2018, section 4.1): Adam
    then moves all of them by the same share. `rate` multiplies the learning rate of the layer. Returns the layer.
    """
    weight: Any = layer.weight
    scale = gain / math.sqrt(weight[0].numel())
    nn.init.normal_(weight, std=scale)
    parametrize.register_parametrization(layer, "weight", Scaled(scale * rate))
    if getattr(layer, "bias", None) is not None:
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        if rate != 1:
            parametrize.register_parametrization(layer, "bias", Scaled(rate))
    return layer


def pixel_norm(x: Tensor) -> Tensor:
    """[N, C, ...] scaled to a mean square of 1 over C, position by position (Karras et al. 2018, section 4.2)."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + EPSILON)


def leaky(x: Tensor) -> Tensor:
    """The leaky rectifier, scaled so that normal values keep their mean square, nearly (Karras et al. 2020's code)."""
    return F.leaky_relu(x, SLOPE) * math.sqrt(2)


class MinibatchStd(nn.Module):
    """[N, C, H, W] -> [N, C + 1, H, W]: a last channel that says how unlike the images of a group are.

    It is the mean over channels and positions of the standard deviation over `group` consecutive images (Karras et al. 2018,
    section 3), so that ranks and micro-batches change nothing as long as each sees whole groups. Raises NetworkError for other
    numbers of images.
    """

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        if len(x) % self.group:
            raise NetworkError(f"{len(x)} images cannot be compared in groups of {self.group}; pass a multiple of them")
        groups = wide(x).unflatten(0, (-1, self.group))
        variance = (groups - groups.mean(dim=1, keepdim=True)).square().mean(dim=1)  # of groups.var the CPU makes a slow loop
        deviation = (variance + EPSILON).sqrt().mean(dim=(1, 2, 3))
        plane = deviation.repeat_interleave(self.group)[:, None, None, None].expand(-1, 1, *x.shape[2:])
        return torch.cat([x, plane.to(x.dtype)], dim=1)


def widths(sides: list[int], width: int, widest: int) -> list[int]:
    """Channels of the maps from the smallest up: `width` at the largest, doubled at each halving up to `widest`."""
    return [min(width * 2**step, widest) for step in reversed(range(len(sides)))]
