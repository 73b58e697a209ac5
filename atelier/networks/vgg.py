"""VGG's convolutions with fixed weights, which others look through: Simonyan and Zisserman 2015, table 1, columns D and E.

hed_vgg16 has the shape of VGG16 and other weights: those of an edge detector that began as it (Xie and Tu 2015).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.layers import NetworkError

Pooling = Literal["max", "average"]
Padding = Literal["zeros", "reflect"]
WIDTHS = 64, 128, 256, 512, 512
LEAST_SHARE = 0.05  # of a layer's mean activation, which a channel is divided by at least: those that see nothing stay quiet


class Kind(NamedTuple):
    """Convolutions of each block, and the mean and the divisor of each color in 0 ... 255, red first."""

    blocks: tuple[int, ...]
    mean: tuple[float, float, float]
    divisor: tuple[float, float, float]


IMAGENET = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # torchvision's mean and standard deviation, times 255
KINDS = {
    "vgg16": Kind((2, 2, 3, 3, 3), *IMAGENET),
    "vgg19": Kind((2, 2, 4, 4, 4), *IMAGENET),
    "hed_vgg16": Kind((2, 2, 3, 3, 3), (122.67892, 116.66877, 104.00699), (1.0, 1.0, 1.0)),
}


def convolutions(kind: str) -> dict[str, tuple[int, int]]:
    """The channels that come in and go out of each convolution by its name: conv1_1, conv1_2, conv2_1, ..."""
    found, inner = {}, 3
    for block, (count, width) in enumerate(zip(KINDS[kind].blocks, WIDTHS, strict=True), 1):
        for number in range(1, count + 1):
            found[f"conv{block}_{number}"] = (inner, width)
            inner = width
    return found


def rectified(kind: str) -> list[str]:
    """The names of what can be seen: relu1_1, relu1_2, relu2_1, ..."""
    return [name.replace("conv", "relu") for name in convolutions(kind)]


class Convolution(nn.Module):
    """A 3x3 convolution whose weights are buffers: they are saved, and no optimizer finds them."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(outer, inner, 3, 3) * math.sqrt(2 / (9 * inner)))
        self.register_buffer("bias", torch.zeros(outer))

    def forward(self, x: Tensor) -> Tensor:
        """A map [N, inner, H, W] with a rim of one pixel -> [N, outer, H - 2, W - 2]."""
        return F.conv2d(x, self.get_buffer("weight"), self.get_buffer("bias"))


class VGG(nn.Module):
    """Images [N, C, H, W] in [-1, 1] (C is 1 or 3) to what layers see: forward(images, names) -> [N, c, h, w] by name.

    There are the layers up to `last` (relu4_1). Each block after the first begins with a pooling of 2x2, of less at odd rims.
    `padding` is what lies around a map. Weights are random until `load` brings those that the kind is known by.
    """

    def __init__(self, kind: str, last: str, pooling: Pooling = "max", padding: Padding = "zeros") -> None:
        super().__init__()
        names = rectified(kind)
        if last not in names:
            raise NetworkError(f"{kind} has no layer {last}; choose among {', '.join(names)}")
        self.kind, self.names, self.pooling, self.padding = kind, names[: names.index(last) + 1], pooling, padding
        shapes = list(convolutions(kind).items())[: len(self.names)]
        self.layers = nn.ModuleDict({name: Convolution(*channels) for name, channels in shapes})
        self.widths = {name.replace("conv", "relu"): outer for name, (_, outer) in shapes}
        for name, values in (("mean", KINDS[kind].mean), ("divisor", KINDS[kind].divisor)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Takes the weights conv1_1.weight, conv1_1.bias, ... of its layers; others are left. Raises NetworkError."""
        own = dict(self.layers.named_buffers())
        if unfit := [name for name, value in own.items() if name not in weights or weights[name].shape != value.shape]:
            raise NetworkError(f"these are no weights of {self.kind}: {', '.join(unfit[:3])} are missing or of another shape")
        for name, value in own.items():
            value.copy_(weights[name])

    @torch.no_grad()
    def equalize(self, images: Tensor) -> None:
        """Rescales the weights so that each channel's mean over such images and all positions is 1: Gatys et al. 2016, section 2.

        Rectifiers and poolings pass factors on, so that features change by a factor for each channel alone. In hed_vgg16 means of
        one layer lie between 0 and 135, and without this a few channels decide every loss.
        """
        seen, inner = self(images, self.names), torch.ones(3)
        for name, layer in self.layers.items():
            mean = seen[name.replace("conv", "relu")].mean(dim=(0, 2, 3))
            outer = mean.clamp_min(LEAST_SHARE * mean.mean())
            layer.get_buffer("weight").mul_(inner[:, None, None]).div_(outer[:, None, None, None])
            layer.get_buffer("bias").div_(outer)
            inner = outer

    def forward(self, images: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        levels = (images.expand(-1, 3, -1, -1) + 1) * 127.5
        x = (levels - self.get_buffer("mean")) / self.get_buffer("divisor")
        seen, missing = dict[str, Tensor](), set(names)
        for name, layer in self.layers.items():
            if name.endswith("_1") and name != "conv1_1":
                pool = F.max_pool2d if self.pooling == "max" else F.avg_pool2d
                x = pool(x, 2, ceil_mode=True)
            x = F.relu(layer(F.pad(x, (1, 1, 1, 1), mode="reflect" if self.padding == "reflect" else "constant")))
            if (rectifier := name.replace("conv", "relu")) in missing:
                seen[rectifier] = x
                missing.discard(rectifier)
            if not missing:
                break
        if missing:
            raise NetworkError(
                f"{self.kind} has no layer {', '.join(sorted(missing))} here; choose among {', '.join(self.names)}"
            )
        return seen


def from_torchvision(kind: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of torchvision's vgg16 or vgg19 (features.0.weight, ...) by our names; what is no convolution is left out."""
    found, place = dict[str, Tensor](), 0
    for name in convolutions(kind):
        if name.endswith("_1") and name != "conv1_1":
            place += 1  # a pooling
        found |= {
            f"{name}.{part}": state[f"features.{place}.{part}"]
            for part in ("weight", "bias")
            if f"features.{place}.{part}" in state
        }
        place += 2  # a convolution and its rectifier
    return found
