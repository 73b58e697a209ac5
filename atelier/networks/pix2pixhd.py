"""pix2pixHD: Wang, Liu, Zhu, Tao, Kautz and Catanzaro 2018, sections 3.2 and 3.3."""

from __future__ import annotations

from torch import Tensor, nn

from atelier.networks.inputs import Takes
from atelier.networks.layers import ImageShape
from atelier.networks.patchgan import Form, PatchGANs, smaller
from atelier.networks.pix2pixhd_settings import Settings
from atelier.networks.resnet_translator import ResidualBlock, ResNetTranslator, Stage, doubling, halving
from atelier.networks.translation_layers import normal_init


class Pix2PixHDGenerator(ResNetTranslator):
    """CycleGAN's form with more halvings: the paper's global generator. With the enhancer around it, it sees half the side.

    The enhancer halves the picture once, adds what the global generator has before its last layer, and doubles the sum.
    """

    def __init__(self, settings: Settings, shape: ImageShape, takes: Takes) -> None:
        super().__init__(settings, shape, takes, settings.upsample, normal_init)
        if settings.enhancer:
            self.entered //= 2
            width, half, eps, padding = settings.width, max(settings.width // 2, 1), settings.eps, settings.padding
            self.local_first = Stage(self._outer(self.planes.width, half, before=True), half, eps)
            self.local_down = halving(half, width, settings.upsample, eps)
            self.local_blocks = nn.Sequential(*(ResidualBlock(width, padding, eps) for _ in range(settings.blocks_enhancer)))
            self.local_up = doubling(width, half, settings.upsample, padding, eps)
            self.last = self._outer(half, shape.channels, before=False)
            self._begin(normal_init)

    def _encoded(self, x: Tensor, blocks: int) -> tuple[Tensor, dict[str, Tensor]]:
        return super()._encoded(smaller(x) if self.settings.enhancer else x, blocks)

    def _trunk(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        found, maps = super()._trunk(x)
        if not self.settings.enhancer:
            return found, maps
        found = self.checkpointed(self.local_down, self.checkpointed(self.local_first, x)) + found
        for block in self.local_blocks:
            found = self.checkpointed(block, found)
        return self.checkpointed(self.local_up, found), maps


class Pix2PixHDDiscriminator(PatchGANs):
    """Several scales."""

    def __init__(self, settings: Settings, shape: ImageShape, condition_channels: int) -> None:
        form = Form(settings.width_discriminator, settings.layers_discriminator, normal_init, eps=settings.eps, padding=2)
        super().__init__(form, settings.scales, shape, condition_channels)


NETWORKS = Pix2PixHDGenerator, Pix2PixHDDiscriminator
