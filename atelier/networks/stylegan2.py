"""StyleGAN2: Karras, Laine, Aittala, Hellsten, Lehtinen and Aila 2020; in plain PyTorch.

A mapping network makes a style of the latent; each convolution's input channels are scaled by what an affine map makes of it
(modulation), its output channels so that they keep their variance (demodulation). Every convolution adds noise of its own.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.base import Discriminator, DiscriminatorOutput, Head, LatentGenerator
from atelier.networks.equalized import EPSILON, MinibatchStd, equalized, leaky, pixel_norm, widths
from atelier.networks.layers import (
    ClassEmbedding,
    ImageShape,
    channels_last_grad,
    downsample,
    resolutions,
    smooth,
    upsample,
    wide,
)
from atelier.networks.stylegan2_settings import Settings
from atelier.networks.styles import towards_the_mean

MAPPING_RATE = 0.01  # of the mapping network's learning rate (Karras et al. 2019, appendix C)
SEED = 0  # of the noise outside of training
SHRINK = math.sqrt(0.5)  # of the sum of two branches, which keeps the variance


class Mapping(nn.Module):
    """z [N, dim] and label -> style w [N, dim]: both normalized, then leaky layers that learn slowly."""

    def __init__(self, dim: int, classes: int, layers: int) -> None:
        super().__init__()
        self.embedding = equalized(ClassEmbedding(classes, dim), gain=math.sqrt(dim)) if classes else None
        inputs = [dim * (2 if classes else 1), *[dim] * (layers - 1)]
        self.layers = nn.ModuleList(equalized(nn.Linear(inner, dim), rate=MAPPING_RATE) for inner in inputs)

    def forward(self, z: Tensor, label: Tensor | None) -> Tensor:
        x = pixel_norm(z)
        if self.embedding is not None:
            x = torch.cat([x, pixel_norm(self.embedding(label))], dim=1)
        for layer in self.layers:
            x = leaky(layer(x))
        return x


class ModulatedConv(nn.Module):
    """x [N, inner, H, W], style [N, dim] -> [N, outer, H, W], twice the size with `up` (section 2.2, equations 1 and 3).

    Scaling the weights of each image is the same as scaling the input channels before and the output channels after one
    convolution that all images share, which needs no weights for each image.
    """

    def __init__(self, inner: int, outer: int, side: int, dim: int, up: bool = False, demodulate: bool = True) -> None:
        super().__init__()
        self.style = equalized(nn.Linear(dim, inner))
        nn.init.ones_(self.style.bias)
        self.convolution = equalized(nn.Conv2d(inner, outer, side, padding=side // 2, bias=False))
        self.up, self.demodulate = up, demodulate

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale = self.style(style)
        x, weight = x * scale[:, :, None, None].to(x.dtype), self.convolution.weight
        # Doubling by a transposed convolution and then the filter costs a quarter of filtering first.
        y = smooth(4 * F.conv_transpose2d(x, weight.transpose(0, 1).flip(2, 3), stride=2)) if self.up else self.convolution(x)
        if not self.demodulate:
            return y
        energy = F.linear(wide(scale).square(), wide(weight).square().sum(dim=(2, 3)))
        return y * torch.rsqrt(energy + EPSILON)[:, :, None, None].to(y.dtype)


class StyledLayer(nn.Module):
    """A modulated convolution, noise of a learned strength, bias, leaky rectifier."""

    noise: Tensor

    def __init__(self, inner: int, outer: int, side: int, dim: int, up: bool, random: torch.Generator) -> None:
        super().__init__()
        self.convolution = ModulatedConv(inner, outer, 3, dim, up)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outer))
        self.register_buffer("noise", torch.randn(1, 1, side, side, generator=random))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        x = self.convolution(x, style)
        noise = self.noise if noise is None else noise.view(-1, *self.noise.shape[1:])
        return leaky(x + (self.strength * noise).to(x.dtype) + self.bias[:, None, None].to(x.dtype))


class StyleGAN2Generator(LatentGenerator):
    """A learned constant -> two styled layers a stage (one at the first), each with its part of the code -> pixels.

    code: [N, 2 x stages, latent_dim], the style of each layer. In the skip form each stage adds its pixels to the enlarged ones
    of the stage before; in the residual form a 1x1 convolution leads around each, and the last alone gives pixels (figure 7).
    """

    def __init__(self, settings: Settings, latent_dim: int, shape: ImageShape) -> None:
        super().__init__(latent_dim, shape)
        sides = resolutions(shape.resolution)
        each = widths(sides, settings.width, settings.widest)
        random = torch.Generator().manual_seed(SEED)
        self.mapping = Mapping(latent_dim, shape.classes, settings.mapping_layers)
        self.start = nn.Parameter(torch.randn(each[0], sides[0], sides[0]))
        self.layers = nn.ModuleList([StyledLayer(each[0], each[0], sides[0], latent_dim, False, random)])
        for inner, outer, side in zip(each[:-1], each[1:], sides[1:], strict=True):
            self.layers.append(StyledLayer(inner, outer, side, latent_dim, True, random))
            self.layers.append(StyledLayer(outer, outer, side, latent_dim, False, random))
        self.skips = settings.generator == "skip"
        self.around = nn.ModuleList(
            equalized(nn.Conv2d(a, b, 1, bias=False)) for a, b in itertools.pairwise(each) if not self.skips
        )
        to_pixels = each if self.skips else each[-1:]
        self.pixels = nn.ModuleList(ModulatedConv(a, shape.channels, 1, latent_dim, demodulate=False) for a in to_pixels)
        self.biases = nn.ParameterList(torch.zeros(shape.channels) for _ in to_pixels)
        self.parts = 2 * len(sides)
        self.mixing = settings.mixing
        self.noises = [side * side for side in (sides[0], *(side for side in sides[1:] for _ in range(2)))]
        self.noise_dim = (latent_dim + 2 if self.mixing else 0) + sum(self.noises)

    def forward(self, z: Tensor, label: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        code = self.code(z, label)
        if noise is not None and self.mixing:
            code = self._mixed(code, label, noise)
        return self.synthesize(code, label, noise)

    def code(self, z: Tensor, label: Tensor | None) -> Tensor:
        return self.mapping(z, label)[:, None].expand(-1, self.parts, -1)

    def _mixed(self, code: Tensor, label: Tensor | None, noise: Tensor) -> Tensor:
        """With probability `mixing` another latent's style from a random layer on (Karras et al. 2019, section 3.1)."""
        whether, where = torch.special.ndtr(noise[:, self.latent_dim : self.latent_dim + 2]).unbind(1)  # uniform
        first = torch.where(whether < self.mixing, 1 + (where * (self.parts - 1)).floor(), self.parts)
        own = torch.arange(self.parts, device=code.device) < first[:, None]
        return torch.where(own[:, :, None], code, self.code(noise[:, : self.latent_dim], label))

    def synthesize(self, code: Tensor, label: Tensor | None, noise: Tensor | None = None) -> Tensor:
        noises = [None] * len(self.noises) if noise is None else noise[:, -sum(self.noises) :].split(self.noises, dim=1)
        styles = code.unbind(1)
        start = self.start.expand(code.shape[0], -1, -1, -1)  # of len(code) a trace would make a constant
        x = self.checkpointed(self.layers[0], start, styles[0], noises[0])
        images = self._pixels(0, x, styles[1]) if self.skips else None
        for stage in range(1, self.parts // 2):
            first, second = 2 * stage - 1, 2 * stage
            y = self.checkpointed(self.layers[first], x, styles[first], noises[first])
            y = self.checkpointed(self.layers[second], y, styles[second], noises[second])
            if images is not None:
                x, images = y, upsample(images) + self._pixels(stage, y, styles[second + 1])
            else:
                x = (upsample(self.around[stage - 1](x)) + y) * SHRINK
        return images if images is not None else self._pixels(0, x, styles[-1])

    def _pixels(self, index: int, x: Tensor, style: Tensor) -> Tensor:
        return self.pixels[index](x, style) + self.biases[index][:, None, None]

    def truncate(self, code: Tensor, label: Tensor | None, psi: float | Tensor) -> Tensor:
        """Towards the mean style, that of each label (Karras et al. 2019, appendix B)."""
        return towards_the_mean(self.mapping, self.latent_dim, code, label, psi)


class StyleGAN2Discriminator(Discriminator):
    """1x1 from pixels -> (3x3, 3x3 to half the size) a stage -> the minibatch's deviation, 3x3, linear -> Head.

    In the residual form a 1x1 convolution leads around each stage; in the skip form each stage also sees the image at its size.
    """

    def __init__(self, settings: Settings, shape: ImageShape, conditioning: str) -> None:
        super().__init__(shape, conditioning)
        self.group = settings.group
        sides = resolutions(shape.resolution)
        each = widths(sides, settings.width, settings.widest)[::-1]
        self.skips = settings.discriminator == "skip"
        entering = each if self.skips else each[:1]
        self.pixels = nn.ModuleList(equalized(nn.Conv2d(self.in_channels, width, 1)) for width in entering)
        self.blocks = nn.ModuleList(DownBlock(a, b, residual=not self.skips) for a, b in itertools.pairwise(each))
        self.deviation = MinibatchStd(settings.group)
        self.convolution = equalized(nn.Conv2d(each[-1] + 1, each[-1], 3, padding=1))
        self.linear = equalized(nn.Linear(each[-1] * sides[0] ** 2, each[-1]))
        self.head = Head(each[-1], shape.classes, conditioning, equalized)

    def freezable_stages(self) -> list[nn.Module]:
        last = nn.ModuleList([self.convolution, self.linear])
        each = [*self.blocks, last]
        return [nn.ModuleList([*self.pixels[index : index + 1], stage]) for index, stage in enumerate(each)]

    def forward(self, images: Tensor, label: Tensor | None = None) -> DiscriminatorOutput:
        images = self.append_label_plane(images, label)
        x = leaky(self.pixels[0](images))
        for index, block in enumerate(self.blocks, start=1):
            x = self.checkpointed(block, x)
            if self.skips:
                images = downsample(images)
                x = x + leaky(self.pixels[index](images))
        x = leaky(self.convolution(self.deviation(x)))
        return self.head(leaky(self.linear(channels_last_grad(x).flatten(1))), label)


class DownBlock(nn.Module):
    """[N, inner, H, W] -> [N, outer, H/2, W/2]."""

    def __init__(self, inner: int, outer: int, residual: bool) -> None:
        super().__init__()
        self.first = equalized(nn.Conv2d(inner, inner, 3, padding=1))
        self.second = equalized(nn.Conv2d(inner, outer, 3, stride=2))
        self.around = equalized(nn.Conv2d(inner, outer, 1, bias=False)) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        y = leaky(self.second(smooth(F.pad(leaky(self.first(x)), (1, 1, 1, 1)))))
        return y if self.around is None else (y + self.around(downsample(x))) * SHRINK


NETWORKS = StyleGAN2Generator, StyleGAN2Discriminator
