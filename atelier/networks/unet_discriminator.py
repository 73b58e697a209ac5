"""A discriminator that judges every pixel: Wang et al. 2021, section 3.3, after Schönfeld et al. 2020."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from atelier.networks.base import PatchDiscriminator, PatchOutput
from atelier.networks.layers import SLOPE, ImageShape
from atelier.networks.residual import frozen_spectral_state, power_iteration, spectral
from atelier.networks.restoration_sections import PixelwiseSettings


class UNetDiscriminator(PatchDiscriminator):
    """Halvings by 4x4 convolutions, bilinear doublings before 3x3 ones, each added to the map of its side; logits [N, 1, H, W].

    All layers but the first and the last have spectral norm and no bias.
    """

    memory_format = torch.channels_last

    def __init__(self, settings: PixelwiseSettings, shape: ImageShape, condition_channels: int) -> None:
        super().__init__(shape, condition_channels)
        width = settings.width_discriminator
        widths = [width * 2**level for level in range(settings.layers_discriminator + 1)]
        self.first = nn.Sequential(nn.Conv2d(self.in_channels, width, 3, padding=1), nn.LeakyReLU(SLOPE))
        self.down = nn.ModuleList(_layer(nn.Conv2d(a, b, 4, 2, 1, bias=False)) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(
            nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), *_layer(nn.Conv2d(a, b, 3, padding=1, bias=False)))
            for a, b in itertools.pairwise(reversed(widths))
        )
        inner = (_layer(nn.Conv2d(width, width, 3, padding=1, bias=False)) for _ in range(2))
        self.head = nn.Sequential(*inner, nn.Conv2d(width, 1, 3, padding=1))

    def power_iteration(self) -> None:
        """Of the spectral norms."""
        power_iteration(self)

    def frozen_spectral_state(self) -> Callable[[], AbstractContextManager[None]]:
        """Of the spectral norms."""
        return frozen_spectral_state(self)

    def freezable_stages(self) -> list[nn.Module]:
        return [self.first, *self.down, *self.up]

    def forward(self, images: Tensor, condition: Tensor | None = None) -> PatchOutput:
        x = self.checkpointed(self.first, self.append_condition(images, condition))
        maps = [x]
        for stage in self.down:
            x = self.checkpointed(stage, x)
            maps.append(x)
        features = list(maps)
        maps.pop()
        for stage in self.up:
            x = self.checkpointed(stage, x) + maps.pop()
            features.append(x)
        return PatchOutput((self.checkpointed(self.head, x),), (tuple(features),))


def _layer(convolution: nn.Conv2d) -> nn.Sequential:
    """With spectral norm, then a leaky rectifier."""
    return nn.Sequential(spectral(convolution), nn.LeakyReLU(SLOPE))
