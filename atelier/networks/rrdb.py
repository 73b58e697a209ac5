"""RRDB, the generator of ESRGAN: Wang et al. 2018, section 3.1; by pixels that become channels, for 1 and 2: Wang et al. 2021."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.inputs import Takes
from atelier.networks.layers import SLOPE, ImageShape
from atelier.networks.restorer import SMALL, Enlarger, convolution
from atelier.networks.rrdb_settings import Settings
from atelier.networks.unet_discriminator import UNetDiscriminator

RESIDUAL = 0.2  # share of what a block makes that is added to what entered it
LAYERS = 5  # of a dense block
FACTORS = {1: (2, 2), 2: (2, 2), 3: (3,), 4: (2, 2)}  # of the side, one after another
UNSHUFFLED = {1: 4, 2: 2, 3: 1, 4: 1}  # pixels a side that become channels before the first layer


class DenseBlock(nn.Module):
    """x + a share of what five 3x3 convolutions make, each of which sees x and all before it; [N, width, H, W]."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            convolution(width + index * growth, growth if index < LAYERS - 1 else width, gain=SMALL) for index in range(LAYERS)
        )

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for layer in self.layers[:-1]:
            seen.append(F.leaky_relu(layer(torch.cat(seen, dim=1)), SLOPE))
        return torch.add(x, self.layers[-1](torch.cat(seen, dim=1)), alpha=RESIDUAL)


class Block(nn.Module):
    """x + a share of what three dense blocks make of it: the residual in residual dense block."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(*(DenseBlock(width, growth) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.dense(x), alpha=RESIDUAL)


class RRDBGenerator(Enlarger):
    """Convolution -> blocks, added to what entered them -> maps doubled by nearest neighbors, then convolved -> convolutions."""

    def __init__(self, settings: Settings, shape: ImageShape, takes: Takes) -> None:
        super().__init__(settings, shape, takes)
        width, self.multiple = settings.width, UNSHUFFLED[self.scale]
        self.first = convolution(shape.channels * self.multiple**2, width)
        self.blocks = nn.ModuleList(Block(width, settings.growth) for _ in range(settings.blocks))
        self.around = convolution(width, width)
        self.up = nn.ModuleList(
            nn.Sequential(nn.Upsample(scale_factor=factor), convolution(width, width), nn.LeakyReLU(SLOPE))
            for factor in FACTORS[self.scale]
        )
        self.last = nn.Sequential(convolution(width, width), nn.LeakyReLU(SLOPE), convolution(width, shape.channels))

    def restored(self, pixels: Tensor) -> Tensor:
        entered = x = self.first(F.pixel_unshuffle(pixels, self.multiple))
        for block in self.blocks:
            x = self.checkpointed(block, x)
        x = entered + self.around(x)
        for stage in self.up:
            x = self.checkpointed(stage, x)
        return self.checkpointed(self.last, x)


NETWORKS = RRDBGenerator, UNetDiscriminator
