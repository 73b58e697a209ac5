"""SPADE (GauGAN): Park, Liu, Wang and Zhu 2019, appendix A."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from atelier.networks.inputs import Takes
from atelier.networks.layers import ImageShape
from atelier.networks.patchgan import Form, PatchGANs
from atelier.networks.residual import frozen_spectral_state, power_iteration, spectral
from atelier.networks.semantic import SemanticGenerator
from atelier.networks.spade_settings import Settings
from atelier.networks.translation_layers import glorot_init

WIDTHS = 16, 16, 16, 16, 8, 4, 2, 1  # times the width of the last block
GAPS = 5, 4, 3, 2, 0, 1  # blocks after which maps are doubled: of five doublings, none is after the second


class SPADEGenerator(SemanticGenerator):
    """Seven blocks. With noise the first map is made of it, as when the authors train with an encoder of styles."""

    def __init__(self, settings: Settings, shape: ImageShape, takes: Takes) -> None:
        widths = [settings.width * times for times in WIDTHS]
        super().__init__(settings, shape, takes, widths, GAPS, everywhere=False)


class SPADEDiscriminator(PatchGANs):
    """Several scales, of layers with spectral and instance norm."""

    def __init__(self, settings: Settings, shape: ImageShape, condition_channels: int) -> None:
        width, layers = settings.width_discriminator, settings.layers_discriminator
        form = Form(width, layers, glorot_init, eps=settings.eps, biased=False, padding=2, wrap=spectral)
        super().__init__(form, settings.scales, shape, condition_channels)

    def power_iteration(self) -> None:
        """Of the spectral norms."""
        power_iteration(self)

    def frozen_spectral_state(self) -> Callable[[], AbstractContextManager[None]]:
        """Of the spectral norms."""
        return frozen_spectral_state(self)


NETWORKS = SPADEGenerator, SPADEDiscriminator
