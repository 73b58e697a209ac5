"""R3GAN: Huang, Gokaslan, Kuleshov and Tompkin 2024, "The GAN is dead; long live the GAN!", section 3 and appendix.

Two residual networks without normalization, mirror images of each other. The stage of the smallest feature map
grows from a learned basis, scaled by a linear map of the latent; each next stage begins with a resampling. Class embeddings are
initialized as the paper's code does: as linear maps of one-hot vectors, hence with a fan in of the number of classes.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.base import Discriminator, DiscriminatorOutput, LatentGenerator, Network
from atelier.networks.convolution import Convolution
from atelier.networks.layers import (
    LEAKY_GAIN,
    SLOPE,
    ClassEmbedding,
    ImageShape,
    LabelledLatent,
    NetworkError,
    channels_last,
    channels_last_grad,
    downsample,
    resolutions,
    scaled_init,
    upsample,
)
from atelier.networks.r3gan_settings import Settings


class ResidualBlock(nn.Module):
    """x + f(x) with f: 1x1 to the inner width, grouped 3x3, 1x1 back, a biased leaky rectifier after the first two.

    The last convolution starts at zero, so the block starts as the identity; the gains of the other two are scaled by
    depth^(-1 / (2 n - 2)) with n = 3 convolutions, `depth` blocks in the network (Fixup: Zhang et al. 2019, section 3).
    """

    def __init__(self, width: int, settings: Settings, depth: int) -> None:
        super().__init__()
        inner = width * settings.expansion
        gain = LEAKY_GAIN * depth ** (-1 / (2 * 3 - 2))
        self.expand = scaled_init(Convolution(width, inner, 1), gain)
        self.spatial = scaled_init(Convolution(inner, inner, 3, padding=1, groups=inner // settings.group_size), gain)
        self.project = scaled_init(Convolution(inner, width, 1, bias=False), 0.0)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.expand(x), SLOPE)
        y = F.leaky_relu(self.spatial(y), SLOPE)
        return x + self.project(y)


class GenerativeBasis(nn.Module):
    """[N, latent] -> [N, width, side, side]: a learned basis image a channel, each scaled by a linear map of the latent."""

    def __init__(self, latent: int, width: int, side: int) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(width, side, side))
        self.scale = scaled_init(nn.Linear(latent, width, bias=False))

    def forward(self, latent: Tensor) -> Tensor:
        return channels_last(self.basis * self.scale(latent)[:, :, None, None])


class DiscriminativeBasis(nn.Module):
    """[N, width, side, side] -> [N, out]: each channel against a learned basis image, then a linear map."""

    def __init__(self, width: int, side: int, out: int) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(width, side, side) / side)
        self.linear = scaled_init(nn.Linear(width, out, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        return self.linear((channels_last_grad(features) * self.basis).sum(dim=(2, 3)))


class Staged(Network):
    """A network with residual blocks a stage."""

    blocks: nn.ModuleList

    def _staged(self, stage: int, x: Tensor) -> Tensor:
        for block in self.blocks[stage]:  # type: ignore[attr-defined]
            x = self.checkpointed(block, x)
        return x


class R3GANGenerator(Staged, LatentGenerator):
    """basis -> blocks -> (1x1 to the next width, upsample, blocks) a stage -> 1x1 to pixels, without a squashing function."""

    def __init__(self, settings: Settings, latent_dim: int, shape: ImageShape) -> None:
        super().__init__(latent_dim, shape)
        sides, widths = resolutions(shape.resolution), checked_channels(settings, shape)
        depth = settings.blocks * len(widths)
        self.input = LabelledLatent(latent_dim, shape.classes, std=max(shape.classes, 1) ** -0.5)
        self.basis = GenerativeBasis(self.input.width, widths[0], sides[0])
        self.transitions = nn.ModuleList(transition(a, b) for a, b in itertools.pairwise(widths))
        self.blocks = nn.ModuleList(blocks(width, settings, depth) for width in widths)
        self.pixels = scaled_init(nn.Conv2d(widths[-1], shape.channels, 1, bias=False))

    def synthesize(self, code: Tensor, label: Tensor | None, noise: Tensor | None = None) -> Tensor:
        x = self._staged(0, self.basis(self.input(code[:, 0], label)))
        for index, change in enumerate(self.transitions, start=1):
            x = self._staged(index, upsample(change(x)))
        return self.pixels(x)


class R3GANDiscriminator(Staged, Discriminator):
    """1x1 from pixels -> (blocks, downsample, 1x1 to the next width) a stage -> blocks -> basis -> projection on the label."""

    def __init__(self, settings: Settings, shape: ImageShape, conditioning: str) -> None:
        super().__init__(shape, conditioning)
        sides, widths = resolutions(shape.resolution), checked_channels(settings, shape)
        depth = settings.blocks * len(widths)
        # Stage by stage from the image side; `entries` brings what arrives to the stage's width.
        self.entries = nn.ModuleList(
            [scaled_init(nn.Conv2d(shape.channels, widths[-1], 1, bias=False))]
            + [transition(b, a) for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True)]
        )
        self.blocks = nn.ModuleList(blocks(width, settings, depth) for width in reversed(widths))
        embedded = widths[0] if shape.classes else 1
        self.basis = DiscriminativeBasis(widths[0], sides[0], embedded)
        self.embedding = ClassEmbedding(shape.classes, embedded) if shape.classes else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=(shape.classes * embedded) ** -0.5)

    def freezable_stages(self) -> list[nn.Module]:
        return [nn.ModuleList([entry, stage]) for entry, stage in zip(self.entries, self.blocks, strict=True)]

    def forward(self, images: Tensor, label: Tensor | None = None) -> DiscriminatorOutput:
        x = self._staged(0, self.entries[0](images))
        for index, entry in enumerate(self.entries[1:], start=1):
            x = self._staged(index, entry(downsample(x)))
        features = self.basis(x)
        if self.embedding is None:
            return DiscriminatorOutput(features.squeeze(1))
        return DiscriminatorOutput((features * self.embedding(label)).sum(dim=1))


def blocks(width: int, settings: Settings, depth: int) -> nn.Sequential:
    """The residual blocks of a stage."""
    return nn.Sequential(*(ResidualBlock(width, settings, depth) for _ in range(settings.blocks)))


def transition(inner: int, outer: int) -> nn.Module:
    """The change of width between two stages: a 1x1 convolution, or nothing where the width stays."""
    return nn.Identity() if inner == outer else scaled_init(nn.Conv2d(inner, outer, 1, bias=False))


def checked_channels(settings: Settings, shape: ImageShape) -> list[int]:
    """`settings.channels` when there is one for each stage of the resolution. Raises NetworkError."""
    sides = resolutions(shape.resolution)
    if len(settings.channels) != len(sides):
        raise NetworkError(
            f"model.r3gan.channels has {len(settings.channels)} entries, but {shape.resolution} px need {len(sides)}: "
            f"one for each of {', '.join(map(str, sides))} px"
        )
    return settings.channels


NETWORKS = R3GANGenerator, R3GANDiscriminator
