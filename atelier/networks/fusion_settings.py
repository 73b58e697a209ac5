"""Section `model.fusion`."""

from __future__ import annotations

from pydantic import Field

from atelier.config.model import FamilySettings
from atelier.config.section import PositiveInt


class Settings(FamilySettings):
    """Tao et al. 2022, with sound beside text."""

    title = "Deep fusion GAN (after Tao 2022)"
    start = "text and sound"
    later = frozenset({"skips"})

    code: PositiveInt = Field(default=128, description="numbers to which noise, text and sound are each projected, then added")
    width_generator: PositiveInt = Field(
        default=32,
        description="channels of the generator's layer nearest to the image; doubled at each halving of the resolution",
    )
    widest_generator: PositiveInt = Field(default=256, description="largest number of channels of the generator's layers")
    skips: bool = Field(
        default=False,
        description="each block adds pixels to the enlarged ones before it (output skips: Karras et al. 2020, figure 7), maps "
        "are enlarged bilinearly, and there is no tanh, which hardly learns beside a white background; false is DF-GAN's last "
        "layer",
    )
    width_discriminator: PositiveInt = Field(
        default=32, description="channels of the discriminator's first block; doubled at each further halving"
    )
    widest_discriminator: PositiveInt = Field(default=256, description="largest number of channels of the discriminator's layers")
    width_sound: PositiveInt = Field(
        default=32, description="channels of the sound encoder's first layer; doubled at each of its two further ones"
    )
