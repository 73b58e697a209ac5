"""Section `model.fusion`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from atelier.config.model import FamilySettings
from atelier.config.section import PositiveInt


class Settings(FamilySettings):
    """Tao et al. 2022, with sound beside text."""

    title = "Deep fusion GAN (after Tao 2022)"
    start = "text and sound"
    later = frozenset({"skips", "dense", "whiten", "noise"})

    code: PositiveInt = Field(default=128, description="numbers to which noise, text and sound are each projected, then added")
    noise: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0,
        description="length of the noise's code beside that of what is told, which is 1, as noise alone is: where a text names "
        "one image, noise has little to say beside it",
    )
    whiten: bool = Field(
        default=False,
        description="embeddings of texts are whitened by the captions of training (Su et al. 2021), and sounds learn these: for "
        "sets whose captions are much alike",
    )
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
    dense: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="with skips: units of two dense layers between the code and pixels of the whole image, to which the blocks "
        "add theirs; for small drawings of one layout, which these learn in seconds; 0 for none",
    )
    width_discriminator: PositiveInt = Field(
        default=32, description="channels of the discriminator's first block; doubled at each further halving"
    )
    widest_discriminator: PositiveInt = Field(default=256, description="largest number of channels of the discriminator's layers")
    width_sound: PositiveInt = Field(
        default=32, description="channels of the sound encoder's first layer; doubled at each of its two further ones"
    )

    @model_validator(mode="after")
    def _dense_pixels_are_added(self) -> Self:
        if self.dense and not self.skips:
            raise ValueError("dense is above 0, and only output skips add pixels; set skips: true")
        return self
