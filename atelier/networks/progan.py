"""Progressive growing: Karras, Aila, Laine and Lehtinen 2018.

Both networks begin with the smallest feature map and grow by a stage at a time, each of which fades in. Here growth is a schedule
of the training (`advance`); the level that is reached is part of the networks' state. The generator always makes images of
the full size, whose detail is that of its level; the discriminator averages them down to where it has grown.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.base import Discriminator, DiscriminatorOutput, Head, LatentGenerator, Network
from atelier.networks.equalized import MinibatchStd, equalized, pixel_norm, widths
from atelier.networks.layers import SLOPE, ImageShape, LabelledLatent, Unflatten2d, channels_last_grad, resolutions
from atelier.networks.progan_settings import Settings

GAIN = math.sqrt(2)  # He et al. 2015, as in section 4.1


class Growth(nn.Module):
    """How far a network has grown: `level` stages beyond the smallest, a fraction while one fades in. A new one is fully grown.

    The tensor is what a save holds; `stage` (the last that is computed) and `fading` follow from it and decide what is computed.
    """

    level: Tensor

    def __init__(self, stages: int, grown: float) -> None:
        super().__init__()
        self.last, self.grown = stages - 1, grown
        self.register_buffer("level", torch.tensor(float(self.last)))
        self.register_load_state_dict_post_hook(lambda module, _: module.follow(module.level.item()))
        self.follow(self.last)

    def follow(self, level: float) -> None:
        """Makes `stage` and `fading` those of a level."""
        self.stage, self.fading = math.ceil(level), level != math.floor(level)

    def advance(self, progress: float) -> None:
        """The level of a moment: stages and fades in turn, of equal length, until the share `grown` of the training."""
        phase = 2 * self.last * progress / self.grown if self.grown else math.inf
        if phase >= 2 * self.last:
            level = float(self.last)
        else:
            fade = phase % 2 - 1  # negative while a stage is stable
            level = phase // 2 + max(fade, 0.0)
        self.level.fill_(level)
        self.follow(torch.tensor(level).item())  # rounded as it is kept

    @property
    def fade(self) -> Tensor:
        """The share of the stage that fades in."""
        return self.level - (self.stage - 1)


class Growing(Network):
    """A network with a `growth`."""

    growth: Growth

    def advance(self, progress: float) -> None:
        self.growth.advance(progress)


class ProGANGenerator(Growing, LatentGenerator):
    """normed latent -> linear, 3x3 -> (nearest neighbors doubled, 3x3, 3x3) a stage -> 1x1 to pixels; pixel norm after each."""

    def __init__(self, settings: Settings, latent_dim: int, shape: ImageShape) -> None:
        super().__init__(latent_dim, shape)
        self.sides = resolutions(shape.resolution)
        each = widths(self.sides, settings.width, settings.widest)
        self.growth = Growth(len(self.sides), settings.grown)
        self.input = LabelledLatent(latent_dim, shape.classes)
        first = equalized(nn.Linear(self.input.width, each[0] * self.sides[0] ** 2), GAIN / 4)  # the authors' code divides by 4
        self.first = nn.Sequential(first, Unflatten2d(each[0], self.sides[0]))
        self.stages = nn.ModuleList([nn.ModuleList([convolution(each[0], each[0])])])
        for inner, outer in itertools.pairwise(each):
            self.stages.append(nn.ModuleList([convolution(inner, outer), convolution(outer, outer)]))
        self.pixels = nn.ModuleList(equalized(nn.Conv2d(width, shape.channels, 1)) for width in each)

    def synthesize(self, code: Tensor, label: Tensor | None, noise: Tensor | None = None) -> Tensor:
        x = normed(self.first, pixel_norm(self.input(code[:, 0], label)))
        growth, before = self.growth, x
        for index, stage in enumerate(self.stages[: growth.stage + 1]):
            before = x
            x = F.interpolate(x, scale_factor=2, mode="nearest") if index else x
            for layer in stage:  # type: ignore[attr-defined]
                x = self.checkpointed(normed, layer, x)
        images = self._full_size(self.pixels[growth.stage](x))
        if growth.fading:
            images = torch.lerp(self._full_size(self.pixels[growth.stage - 1](before)), images, growth.fade.to(images.dtype))
        return images

    def fade_real(self, images: Tensor) -> Tensor:
        growth = self.growth
        faded = self._full_size(_mean(images, self.sides[growth.stage]))
        if growth.fading:
            faded = torch.lerp(self._full_size(_mean(images, self.sides[growth.stage - 1])), faded, growth.fade)
        return faded

    def _full_size(self, images: Tensor) -> Tensor:
        factor = self.shape.resolution // images.shape[3]
        return images if factor == 1 else F.interpolate(images, scale_factor=factor, mode="nearest")


class ProGANDiscriminator(Growing, Discriminator):
    """(1x1 from pixels,) 3x3, 3x3, mean of 2x2 a stage -> the minibatch's deviation, 3x3, linear -> Head."""

    def __init__(self, settings: Settings, shape: ImageShape, conditioning: str) -> None:
        super().__init__(shape, conditioning)
        self.group = settings.group
        self.sides = resolutions(shape.resolution)
        each = widths(self.sides, settings.width, settings.widest)
        self.growth = Growth(len(self.sides), settings.grown)
        # From the smallest map up, as they grow.
        self.pixels = nn.ModuleList(equalized(nn.Conv2d(self.in_channels, width, 1), GAIN) for width in each)
        self.deviation = MinibatchStd(settings.group)
        last = nn.ModuleList([convolution(each[0] + 1, each[0])])
        self.blocks = nn.ModuleList([last])
        for outer, inner in itertools.pairwise(each):
            self.blocks.append(nn.ModuleList([convolution(inner, inner), convolution(inner, outer)]))
        self.last = equalized(nn.Linear(each[0] * self.sides[0] ** 2, each[0]), GAIN)
        self.head = Head(each[0], shape.classes, conditioning, equalized)

    def freezable_stages(self) -> list[nn.Module]:
        last = [self.pixels[0], self.blocks[0], self.last]
        later = zip(self.pixels[1:], self.blocks[1:], strict=True)
        return [nn.ModuleList(parts) for parts in (*reversed(list(later)), last)]

    def forward(self, images: Tensor, label: Tensor | None = None) -> DiscriminatorOutput:
        images, growth = self.append_label_plane(images, label), self.growth
        x = self._entered(images, growth.stage)
        for index in range(growth.stage, 0, -1):
            for layer in self.blocks[index]:  # type: ignore[attr-defined]
                x = self.checkpointed(leaky, layer, x)
            x = F.avg_pool2d(x, 2)
            if growth.fading and index == growth.stage:
                x = torch.lerp(self._entered(images, index - 1), x, growth.fade.to(x.dtype))
        for layer in self.blocks[0]:  # type: ignore[attr-defined]
            x = leaky(layer, self.deviation(x))
        return self.head(leaky(self.last, channels_last_grad(x).flatten(1)), label)

    def _entered(self, images: Tensor, stage: int) -> Tensor:
        return leaky(self.pixels[stage], _mean(images, self.sides[stage]))


def convolution(inner: int, outer: int) -> nn.Module:
    """3x3, equalized."""
    return equalized(nn.Conv2d(inner, outer, 3, padding=1), GAIN)


def leaky(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer and a leaky rectifier."""
    return F.leaky_relu(layer(x), SLOPE)


def normed(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer, a leaky rectifier and pixel norm."""
    return pixel_norm(leaky(layer, x))


def _mean(images: Tensor, side: int) -> Tensor:
    """Means of squares of pixels: [N, C, H, W] -> [N, C, side, side]."""
    return images if images.shape[3] == side else F.avg_pool2d(images, images.shape[3] // side)


NETWORKS = ProGANGenerator, ProGANDiscriminator
