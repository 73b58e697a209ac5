"""Base classes for the sections of architectures that restore pictures. Imports no PyTorch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from atelier.config.section import PositiveInt
from atelier.networks.translation_sections import TranslationSettings


class RestorationSettings(TranslationSettings):
    """What all restorers have: widths, blocks, and what the last layer's output is added to."""

    width: PositiveInt = Field(default=64, description="channels of the generator's layers")
    blocks: PositiveInt = Field(default=16, description="residual blocks of the generator")
    residual: bool = Field(
        default=False,
        description="the generator adds to its input, which is enlarged bilinearly: colors are right from the first step",
    )


class EnlargerSettings(RestorationSettings):
    """A restorer that makes pictures larger."""

    later = frozenset({"back_projection"})

    back_projection: Annotated[int, Field(ge=0, le=4)] = Field(
        default=0,
        description="how often the generator corrects its image by what is missing when that is shrunk bicubically again; for "
        "pictures that were shrunk so, by degradations: [bicubic]",
    )


class PixelwiseSettings(RestorationSettings):
    """A restorer whose discriminator is a U-Net and judges every pixel."""

    width_discriminator: PositiveInt = Field(
        default=64, description="channels of the discriminator's first layer; doubled at each halving"
    )
    layers_discriminator: Annotated[int, Field(ge=1, le=5)] = Field(
        default=3, description="halvings in the discriminator, which doubles as often to judge every pixel"
    )

    def check_discriminator(self, resolution: int) -> None:
        if resolution % 2**self.layers_discriminator:
            raise ValueError(
                f"model.{self.name()}.layers_discriminator is {self.layers_discriminator}, and {resolution} px are no multiple "
                f"of {2**self.layers_discriminator}: choose fewer, or another side"
            )
