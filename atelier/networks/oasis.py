"""OASIS: Sushko et al. 2021, appendix A. Its discriminator tells the class of each pixel."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.base import PatchDiscriminator, PatchOutput
from atelier.networks.inputs import Takes
from atelier.networks.layers import SLOPE, ImageShape
from atelier.networks.oasis_settings import Settings
from atelier.networks.residual import frozen_spectral_state, power_iteration
from atelier.networks.semantic import SemanticGenerator, spectral_glorot
from atelier.networks.translation_layers import glorot_init

WIDTHS = 16, 16, 16, 8, 4, 2, 1  # times the width of the last block
GAPS = 4, 3, 2, 1, 0  # blocks after which maps are doubled
DISCRIMINATOR = 1, 1, 2, 2, 4, 4  # times the width of the first block


class OASISGenerator(SemanticGenerator):
    """Six blocks, each of which sees the noise and the label map."""

    def __init__(self, settings: Settings, shape: ImageShape, takes: Takes) -> None:
        widths = [settings.width * times for times in WIDTHS]
        super().__init__(settings, shape, takes, widths, GAPS, everywhere=True)


class Block(nn.Module):
    """Two 3x3 convolutions beside the input, or beside a 1x1 where widths differ. Maps are `doubled` first, or halved at the end.

    Leaky rectifiers come before the 3x3, but not on the pixels of the `first` block.
    """

    def __init__(self, inner: int, outer: int, doubled: bool, first: bool = False) -> None:
        super().__init__()
        self.first, self.second = (spectral_glorot(nn.Conv2d(width, outer, 3, padding=1)) for width in (inner, outer))
        self.skip = spectral_glorot(nn.Conv2d(inner, outer, 1)) if inner != outer else nn.Identity()
        self.doubled, self.pixels = doubled, first

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.pixels else F.leaky_relu(x, SLOPE)
        if self.doubled:
            x, y = F.interpolate(x, scale_factor=2), F.interpolate(y, scale_factor=2)
        y = self.second(F.leaky_relu(self.first(y), SLOPE))
        if self.doubled:
            return self.skip(x) + y
        # A 1x1 convolution and a mean of pixels may change places: the smaller map is convolved.
        return self.skip(F.avg_pool2d(x, 2)) + F.avg_pool2d(y, 2)


class OASISDiscriminator(PatchDiscriminator):
    """A U-Net from images alone to logits of each pixel, [N, 1 + classes, H, W]: that it is made, or is of a class and real.

    `condition_channels` is the number of classes: the label map is what it has to tell, and no input.
    """

    memory_format = torch.channels_last  # it has no norm of single images

    def __init__(self, settings: Settings, shape: ImageShape, condition_channels: int) -> None:
        super().__init__(shape, 0)
        levels, width = settings.layers_discriminator, settings.width_discriminator
        widths = [shape.channels, *(width * times for times in DISCRIMINATOR[:levels])]
        self.down = nn.ModuleList(
            Block(a, b, doubled=False, first=not index) for index, (a, b) in enumerate(itertools.pairwise(widths))
        )
        outer = [*widths[-2:0:-1], width // 2]
        inner = [widths[-1], *(2 * one for one in outer[:-1])]
        self.up = nn.ModuleList(Block(a, b, doubled=True) for a, b in zip(inner, outer, strict=True))
        self.head = nn.Conv2d(outer[-1], 1 + condition_channels, 1)
        glorot_init(self.head)

    def power_iteration(self) -> None:
        """Of the spectral norms."""
        power_iteration(self)

    def frozen_spectral_state(self) -> Callable[[], AbstractContextManager[None]]:
        """Of the spectral norms."""
        return frozen_spectral_state(self)

    def freezable_stages(self) -> list[nn.Module]:
        return [*self.down, *self.up]

    def forward(self, images: Tensor, condition: Tensor | None = None) -> PatchOutput:
        x, maps = self.append_condition(images, condition), []
        for block in self.down:
            x = self.checkpointed(block, x)
            maps.append(x)
        features = list(maps)
        x = maps.pop()
        for number, block in enumerate(self.up):
            x = self.checkpointed(block, torch.cat([maps.pop(), x], dim=1) if number else x)
            features.append(x)
        return PatchOutput((self.head(x),), (tuple(features),))


NETWORKS = OASISGenerator, OASISDiscriminator
