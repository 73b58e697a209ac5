"""A U-Net that is told how noisy each place is: DRUNet, Zhang et al. 2021, section 3.2."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.denoising_unet_settings import Settings
from atelier.networks.inputs import Takes
from atelier.networks.layers import ImageShape
from atelier.networks.restorer import Restorer
from atelier.networks.translation_layers import Filter
from atelier.networks.unet_discriminator import UNetDiscriminator

WINDOW = 31  # pixels a side over which noise is measured
GAIN = 0.2  # of the first weights, which are orthogonal


class NoiseLevel(Filter):
    """Pixels [N, C, H, W] -> the standard deviation of the noise around each, [N, 1, H, W]: Immerkær 1996, over a window.

    Second differences along both axes leave little of a picture and six times the noise; what is textured counts as noise.
    """

    def __init__(self) -> None:
        super().__init__([1.0, -2.0, 1.0])

    def forward(self, pixels: Tensor) -> Tensor:
        padded = F.pad(pixels, (1, 1, 1, 1), mode="reflect")
        device = "cpu" if pixels.is_meta else pixels.device.type  # autocast knows none where shapes alone are tried
        with torch.autocast(device, enabled=False):  # which would round more than a clean picture's noise
            size = F.conv2d(padded, self._kernel(pixels), groups=pixels.shape[1]).abs().mean(dim=1, keepdim=True)
        mean = F.avg_pool2d(size, WINDOW, 1, WINDOW // 2, count_include_pad=False)
        return mean * (math.sqrt(math.pi / 2) / 6)


class Block(nn.Module):
    """x + 3x3(ReLU(3x3(x))), [N, width, H, W]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(x)))


class DenoisingUNetGenerator(Restorer):
    """Residual blocks between halvings and doublings, each of which is added to the map of its side; nothing has a bias.

    Without biases what is restored scales with picture and noise. `noise_level` [N] is a standard deviation where white is 1;
    without it the network takes what NoiseLevel measures, in training as in use, so that a picture suffices.
    """

    def __init__(self, settings: Settings, shape: ImageShape, takes: Takes) -> None:
        super().__init__(settings, shape, takes, scales=(1,))
        widths = [settings.width * 2**level for level in range(settings.halvings + 1)]
        blocks = [nn.Sequential(*(Block(width) for _ in range(settings.blocks))) for width in [*widths, *widths[-2::-1]]]
        self.multiple, self.level = 2**settings.halvings, NoiseLevel()
        self.first = nn.Conv2d(shape.channels + 1, settings.width, 3, padding=1, bias=False)
        self.down = nn.ModuleList(
            nn.Sequential(part, nn.Conv2d(a, b, 2, 2, bias=False))
            for part, (a, b) in zip(blocks, itertools.pairwise(widths), strict=False)
        )
        self.middle = blocks[settings.halvings]
        self.up = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(a, b, 2, 2, bias=False), part)
            for part, (a, b) in zip(blocks[settings.halvings + 1 :], itertools.pairwise(widths[::-1]), strict=True)
        )
        self.last = nn.Conv2d(settings.width, shape.channels, 3, padding=1, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.orthogonal_(module.weight, gain=GAIN)

    def forward(self, noise: Tensor | None = None, noise_level: Tensor | None = None, **inputs: Tensor) -> Tensor:
        pixels = self.pixels(inputs)
        level = self.level(pixels) if noise_level is None else noise_level.view(-1, 1, 1, 1).expand_as(pixels[:, :1])
        return self.images(self.restored(torch.cat([pixels, level], dim=1)), pixels)

    def restored(self, pixels: Tensor) -> Tensor:
        x, maps = self.first(pixels), []
        for stage in self.down:
            maps.append(x)
            x = self.checkpointed(stage, x)
        x = x + self.checkpointed(self.middle, x)
        for stage in self.up:
            x = self.checkpointed(stage, x) + maps.pop()
        return self.last(x)  # type: ignore[no-any-return]


NETWORKS = DenoisingUNetGenerator, UNetDiscriminator
