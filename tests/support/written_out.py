"""Layers written out from their equations, for tests of networks that restore pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

State = dict[str, Tensor]


def woken(network: nn.Module) -> State:
    """The state of a network in float64, with weights so large that every layer matters; spectral norms have converged."""
    torch.manual_seed(5)
    for name, parameter in network.named_parameters():
        gain = parameter.ndim == 1 and name.endswith("weight")
        nn.init.normal_(parameter, mean=float(gain), std=0.3)
    network.double()
    for _ in range(500):
        network.power_iteration()  # type: ignore[operator]
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def convolved(state: State, name: str, x: Tensor, stride: int = 1, padding: int | None = None) -> Tensor:
    """By a weight, or by one over its largest singular value; the side is kept unless a padding is given."""
    if (weight := state.get(f"{name}.weight")) is None:
        weight = state[f"{name}.parametrizations.weight.original"]
        weight = weight / torch.linalg.matrix_norm(weight.flatten(1), 2)
    return F.conv2d(x, weight, state.get(f"{name}.bias"), stride, weight.shape[2] // 2 if padding is None else padding)


def rectified(x: Tensor, slope: float | Tensor = 0.0) -> Tensor:
    """x where it is positive, elsewhere a share of it."""
    return torch.where(x > 0, x, slope * x)


def normed(state: State, name: str, x: Tensor, eps: float) -> Tensor:
    """Batch norm in training, with gain and shift."""
    x = (x - x.mean(dim=(0, 2, 3), keepdim=True)) / (x.var(dim=(0, 2, 3), keepdim=True, correction=0) + eps).sqrt()
    return x * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]


def shuffled(x: Tensor, factor: int) -> Tensor:
    """Channels become pixels: the i-th of each factor^2 is at row i // factor and column i % factor of its block."""
    count, channels, height, width = x.shape
    found = torch.zeros(count, channels // factor**2, height * factor, width * factor, dtype=x.dtype)
    for row in range(factor):
        for column in range(factor):
            found[:, :, row::factor, column::factor] = x[:, row * factor + column :: factor**2]
    return found


def unshuffled(x: Tensor, factor: int) -> Tensor:
    """Pixels become channels, in the order of `shuffled`."""
    parts = [x[:, :, row::factor, column::factor] for row in range(factor) for column in range(factor)]
    return torch.stack(parts, dim=2).flatten(1, 2)


def repeated(x: Tensor, factor: int) -> Tensor:
    """Every pixel as a block."""
    return x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def enlarged(x: Tensor, factor: int) -> Tensor:
    """Each pixel center takes its part of the two nearest ones along each axis; beyond the outer ones nothing changes."""

    def weights(side: int) -> Tensor:
        places = ((torch.arange(factor * side, dtype=x.dtype) + 0.5) / factor - 0.5).clamp(0, side - 1)
        return (1 - (places[:, None] - torch.arange(side)).abs()).clamp(min=0)

    return weights(x.shape[2]) @ x @ weights(x.shape[3]).T
