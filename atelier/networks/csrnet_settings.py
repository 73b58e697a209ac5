"""Section `model.csrnet`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from atelier.config.section import PositiveInt
from atelier.networks.translation_sections import Count, TranslationSettings


class Settings(TranslationSettings):
    """He 2020. Places do not count: pixels of one color stay pixels of one color, and no shape changes."""

    title = "CSRNet (He 2020), against a discriminator of patches or of pixels"

    width: PositiveInt = Field(default=64, description="channels of the three convolutions of single pixels")
    layers_discriminator: Count = Field(  # type: ignore[assignment]
        default=3,
        description="halvings in the discriminator, whose patches are of 16 px for 1, 34 for 2, 70 for 3; with 0 it judges each "
        "pixel by its color alone (Isola 2017, PixelGAN), so that the other set's palette is what is learnt",
    )
    width_condition: PositiveInt = Field(
        default=32,
        description="channels of what the network sees of the whole picture, by which one color becomes different ones",
    )
    residual: bool = Field(
        default=False,
        description="the generator adds to its input, cut to the range of pixels, and begins as the identity",
    )
    keep_white: bool = Field(
        default=False,
        description="goes with residual: white stays white and pale colors change less, for drawings on white",
    )

    @model_validator(mode="after")
    def _something_to_keep(self) -> Self:
        if self.keep_white and not self.residual:
            raise ValueError("keep_white weighs what is added to the input; set residual: true, or keep_white: false")
        return self
