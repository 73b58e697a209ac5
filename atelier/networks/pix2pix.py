"""pix2pix: Isola, Zhu, Zhou and Efros 2017, appendix 6.1. A U-Net (Ronneberger et al. 2015) for any power of two from 32 px."""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor, nn

from atelier.networks.base import Translator
from atelier.networks.inputs import Takes
from atelier.networks.layers import SLOPE, ImageShape
from atelier.networks.patchgan import Form, PatchGANs
from atelier.networks.pix2pix_settings import Settings
from atelier.networks.translation_layers import norm, normal_init

OUTER = 4  # levels that lose nothing, as does the innermost


class Pix2PixGenerator(Translator):
    """4x4 convolutions that halve the side down to 1 px, and those that double it, each of which sees the map of its side, too.

    `noise` [N, noise_dim] decides what the inner doublings lose; without it they lose nothing.
    """

    def __init__(self, settings: Settings, shape: ImageShape, takes: Takes) -> None:
        super().__init__(settings, shape, takes)
        self.multiple = shape.resolution
        levels = shape.resolution.bit_length() - 1
        widths = [settings.width * min(2**level, 8) for level in range(levels)]
        biased = settings.norm == "instance"
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, (inner, outer) in enumerate(zip([self.planes.width, *widths], widths, strict=False)):
            layers: list[nn.Module] = [nn.LeakyReLU(SLOPE)] if level else []
            layers.append(nn.Conv2d(inner, outer, 4, 2, 1, bias=biased))
            normed = 0 < level < levels - 1
            self.down.append(nn.Sequential(*layers, *[norm(settings.norm, outer, settings.eps)] * normed))
        for level in reversed(range(levels)):
            inner, outer = widths[level] * (1 if level == levels - 1 else 2), [shape.channels, *widths][level]
            double = doubling(inner, outer, settings.upsample, biased or level == 0)
            self.up.append(nn.Sequential(nn.ReLU(), *double, norm(settings.norm, outer, settings.eps) if level else nn.Tanh()))
        self.dropped = [(widths[level - 1], shape.resolution >> level) for level in reversed(range(OUTER, levels - 1))]
        self.dropout = settings.dropout
        self.threshold = NormalDist().inv_cdf(settings.dropout) if settings.dropout else -math.inf
        self.noise_dim = sum(width * side**2 for width, side in self.dropped) if settings.dropout else 0
        self.apply(normal_init)

    def forward(self, noise: Tensor | None = None, **inputs: Tensor) -> Tensor:
        x, skips = self.planes(inputs), []
        for stage in self.down:
            x = self.checkpointed(stage, x)
            skips.append(x)
        masks = self._masks(noise) if noise is not None else []
        for index, stage in enumerate(self.up):
            skip = skips.pop()
            x = self.checkpointed(stage, torch.cat([skip, x], dim=1) if index else skip)
            if 0 < index <= len(masks):
                x = x * masks[index - 1].to(x.dtype)
        return x

    def _masks(self, noise: Tensor) -> list[Tensor]:
        """[N, noise_dim] -> what each of the inner doublings keeps, [N, width, side, side], scaled to a mean of 1."""
        kept = (noise > self.threshold) / (1 - self.dropout)
        parts = kept.split([width * side**2 for width, side in self.dropped], dim=1)
        return [part.unflatten(1, (width, side, side)) for part, (width, side) in zip(parts, self.dropped, strict=True)]


class Pix2PixDiscriminator(PatchGANs):
    """One scale."""

    def __init__(self, settings: Settings, shape: ImageShape, condition_channels: int) -> None:
        width, layers, biased = settings.width_discriminator, settings.layers_discriminator, settings.norm == "instance"
        form = Form(width, layers, normal_init, normed=settings.norm, eps=settings.eps, biased=biased)
        super().__init__(form, 1, shape, condition_channels)


def doubling(inner: int, outer: int, form: str, biased: bool) -> list[nn.Module]:
    """Layers from [N, inner, H, W] to [N, outer, 2H, 2W]."""
    if form == "transposed":
        return [nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=biased)]
    return [nn.Upsample(scale_factor=2), nn.Conv2d(inner, outer, 3, padding=1, bias=biased)]


NETWORKS = Pix2PixGenerator, Pix2PixDiscriminator
