"""CycleGAN: Zhu, Park, Isola and Efros 2017, appendix 7.2."""

from __future__ import annotations

from atelier.networks.cyclegan_settings import Settings
from atelier.networks.inputs import Takes
from atelier.networks.layers import ImageShape
from atelier.networks.patchgan import Form, PatchGANs
from atelier.networks.resnet_translator import ResNetTranslator
from atelier.networks.translation_layers import normal_init


class CycleGANGenerator(ResNetTranslator):
    """The doublings have the form that the settings choose."""

    def __init__(self, settings: Settings, shape: ImageShape, takes: Takes) -> None:
        super().__init__(settings, shape, takes, settings.upsample, normal_init)


class CycleGANDiscriminator(PatchGANs):
    """One scale."""

    def __init__(self, settings: Settings, shape: ImageShape, condition_channels: int) -> None:
        form = Form(settings.width_discriminator, settings.layers_discriminator, normal_init, eps=settings.eps)
        super().__init__(form, 1, shape, condition_channels)


NETWORKS = CycleGANGenerator, CycleGANDiscriminator
