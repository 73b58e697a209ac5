"""CUT and FastCUT: Park, Efros, Zhang and Zhu 2020. CycleGAN's networks with filters where sides are halved and doubled."""

from __future__ import annotations

from atelier.networks.cut_settings import Settings
from atelier.networks.inputs import Takes
from atelier.networks.layers import ImageShape
from atelier.networks.patchgan import Form, PatchGANs
from atelier.networks.resnet_translator import ResNetTranslator
from atelier.networks.translation_layers import glorot_init


class CUTGenerator(ResNetTranslator):
    """Nothing of it folds frequencies: Zhang 2019."""

    def __init__(self, settings: Settings, shape: ImageShape, takes: Takes) -> None:
        super().__init__(settings, shape, takes, "blur", glorot_init)


class CUTDiscriminator(PatchGANs):
    """One scale."""

    def __init__(self, settings: Settings, shape: ImageShape, condition_channels: int) -> None:
        width, layers = settings.width_discriminator, settings.layers_discriminator
        super().__init__(Form(width, layers, glorot_init, eps=settings.eps, blurred=True), 1, shape, condition_channels)


NETWORKS = CUTGenerator, CUTDiscriminator
