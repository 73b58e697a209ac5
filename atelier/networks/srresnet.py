"""SRResNet and SRGAN's discriminator: Ledig et al. 2017, figure 4; MSRResNet: Wang et al. 2018, their baseline without norms.

Neither form spreads its first weights over the pixels that a channel becomes (ICNR), as published.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from atelier.networks.base import PatchDiscriminator, PatchOutput
from atelier.networks.inputs import Takes
from atelier.networks.layers import LEAKY_GAIN, SLOPE, ImageShape, scaled_init
from atelier.networks.restorer import SMALL, Enlarger, convolution
from atelier.networks.srresnet_settings import Settings
from atelier.networks.translation_layers import norm

FACTORS: dict[int, tuple[int, ...]] = {1: (), 2: (2,), 3: (3,), 4: (2, 2)}  # of the side, one after another


class Block(nn.Module):
    """x + normed(3x3(rectified(normed(3x3(x))))), [N, width, H, W]."""

    def __init__(self, width: int, kind: str, eps: float) -> None:
        super().__init__()
        self.first, self.second = (convolution(width, width, gain=SMALL) for _ in range(2))
        self.norms = nn.ModuleList(norm(kind, width, eps) for _ in range(2))
        self.rectifier = nn.PReLU() if kind == "batch" else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norms[1](self.second(self.rectifier(self.norms[0](self.first(x)))))


class SRResNetGenerator(Enlarger):
    """Convolution -> residual blocks -> channels become pixels (Shi et al. 2016) -> convolutions.

    With batch norm it is the paper's: rectifiers learn their slope, the blocks' sum is added to what entered them.
    """

    def __init__(self, settings: Settings, shape: ImageShape, takes: Takes) -> None:
        super().__init__(settings, shape, takes)
        width, kind, original = settings.width, settings.norm, settings.norm == "batch"
        self.first = nn.Sequential(convolution(shape.channels, width, 9 if original else 3, SMALL), self._rectifier())
        self.blocks = nn.ModuleList(Block(width, kind, settings.eps) for _ in range(settings.blocks))
        self.around = nn.Sequential(convolution(width, width, gain=SMALL), norm(kind, width, settings.eps)) if original else None
        self.up = nn.ModuleList(
            nn.Sequential(convolution(width, width * factor**2, gain=SMALL), nn.PixelShuffle(factor), self._rectifier())
            for factor in FACTORS[self.scale]
        )
        high = [] if original else [convolution(width, width, gain=SMALL), self._rectifier()]
        self.last = nn.Sequential(*high, convolution(width, shape.channels, 9 if original else 3, SMALL))

    def _rectifier(self) -> nn.Module:
        return nn.PReLU() if self.settings.norm == "batch" else nn.LeakyReLU(0.1)

    def restored(self, pixels: Tensor) -> Tensor:
        entered = x = self.first(pixels)
        for block in self.blocks:
            x = self.checkpointed(block, x)
        if self.around is not None:
            x = entered + self.checkpointed(self.around, x)
        for stage in self.up:
            x = self.checkpointed(stage, x)
        return self.checkpointed(self.last, x)


class SRGANDiscriminator(PatchDiscriminator):
    """Pairs of 3x3 convolutions, of which the second halves; then 1x1 convolutions, where the paper's layers are dense.

    Dense layers know one side of picture. The same layers at each place of the last map know all, and give each patch its logit:
    a generator learns where a picture is wrong, which the mean of features over a picture would hide.
    """

    memory_format = torch.channels_last

    def __init__(self, settings: Settings, shape: ImageShape, condition_channels: int) -> None:
        super().__init__(shape, condition_channels)
        width, kind = settings.width_discriminator, settings.norm_discriminator
        widths = [width * min(2**level, 8) for level in range(settings.layers_discriminator) for _ in range(2)]
        self.stages = nn.ModuleList()
        for index, (inner, outer) in enumerate(itertools.pairwise([self.in_channels, *widths])):
            layer = scaled_init(nn.Conv2d(inner, outer, 3, 1 + index % 2, 1), LEAKY_GAIN)
            self.stages.append(nn.Sequential(layer, norm(kind if index else "none", outer, settings.eps), nn.LeakyReLU(SLOPE)))
        dense = scaled_init(nn.Conv2d(widths[-1], 2 * widths[-1], 1), LEAKY_GAIN)
        self.head = nn.Sequential(dense, nn.LeakyReLU(SLOPE), scaled_init(nn.Conv2d(2 * widths[-1], 1, 1)))

    def freezable_stages(self) -> list[nn.Module]:
        return list(self.stages)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> PatchOutput:
        x, maps = self.append_condition(images, condition), []
        for stage in self.stages:
            x = self.checkpointed(stage, x)
            maps.append(x)
        return PatchOutput((self.head(x),), (tuple(maps),))


NETWORKS = SRResNetGenerator, SRGANDiscriminator
