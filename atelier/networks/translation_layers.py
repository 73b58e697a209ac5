"""What the networks that translate pictures are made of: norms, filters and first weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.layers import BatchNorm

INIT = 0.02  # Radford et al. 2016, section 4; the gain of Glorot's weights, too


class InstanceNorm(nn.GroupNorm):
    """Each channel of each image to mean 0 and variance 1 (Ulyanov et al. 2016, equation 4), without gain and shift.

    As a group norm of one channel a group: equal to nn.InstanceNorm2d but for rounding, and more than twice as fast on a CPU.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__(width, width, eps=eps, affine=False)


def norm(kind: str, width: int, eps: float = 1e-5, affine: bool = True) -> nn.Module:
    """`instance`, `batch` (of all ranks; `affine`: with gain and shift) or `none`."""
    if kind == "none":
        return nn.Identity()
    return InstanceNorm(width, eps) if kind == "instance" else BatchNorm(width, eps=eps, affine=affine)


class Filter(nn.Module):
    """A filter along both axes of [N, C, H, W], the same for all channels; as a convolution of each the fastest on a CPU."""

    def __init__(self, numbers: list[float]) -> None:
        super().__init__()
        line = torch.tensor(numbers)
        self.register_buffer("kernel", torch.outer(line, line)[None, None], persistent=False)

    def _kernel(self, x: Tensor) -> Tensor:
        return self.get_buffer("kernel").expand(x.shape[1], -1, -1, -1)


class BlurDown(Filter):
    """[N, C, H, W] -> [N, C, H/2, W/2] rounded up: the filter [1, 2, 1] / 4 along both axes, mirrored rims (Zhang 2019)."""

    def __init__(self) -> None:
        super().__init__([0.25, 0.5, 0.25])

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self._kernel(x), stride=2, groups=x.shape[1])


class BlurUp(Filter):
    """[N, C, H, W] -> [N, C, 2H, 2W]: zeros inserted, then the filter [1, 3, 3, 1] / 4 along both axes, the rims repeated.

    That is bilinear interpolation between pixel centers.
    """

    def __init__(self) -> None:
        super().__init__([0.25, 0.75, 0.75, 0.25])

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return F.conv_transpose2d(padded, self._kernel(x), stride=2, padding=3, groups=x.shape[1])


def normal_init(module: nn.Module) -> None:
    """Normal weights of standard deviation 0.02 around 0, batch norm gains around 1; biases zero."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, std=INIT)
        zero_bias(module)
    elif isinstance(module, nn.BatchNorm2d) and module.affine:
        nn.init.normal_(module.weight, mean=1.0, std=INIT)


def glorot_init(module: nn.Module) -> None:
    """Normal weights of variance 0.02^2 * 2 / (fan in + fan out) (Glorot and Bengio 2010, equation 12), biases zero."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.xavier_normal_(module.weight, gain=INIT)
        zero_bias(module)


def zero_bias(layer: Any) -> None:
    """Sets the bias to zero where there is one."""
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
