"""Sections `train.restoration` and `finetune.restoration`. Imports no PyTorch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from atelier.config.section import Section, Weight
from atelier.tasks.restoration.degradations.settings import Degradations


class Settings(Section):
    """What degraded pictures are made of clean ones, and what a restored picture is held to.

    First a stage of pixels alone, `{pixel: 1}`, then, fine-tuned from it, one with a discriminator. Images are in [-1, 1], where
    L1 is twice that in [0, 1]: ESRGAN has pixel 0.005, perceptual 1 and adversarial 0.005 with objective relativistic_average,
    Real-ESRGAN pixel 0.5, perceptual 1 and adversarial 0.1 with objective nonsaturating and sharpen_targets.
    """

    scale: Literal[1, 2, 3, 4] = Field(
        default=4, description="how many times the side of a restored picture is that of a degraded one; 1 for noise and blur"
    )
    degradations: Degradations = Field(default_factory=Degradations)
    crop: Annotated[int, Field(ge=0)] = Field(
        default=0, description="side of the crops of whole pictures that training sees, in pixels; 0 for data.NAME.resolution"
    )
    flips: bool = Field(default=False, description="half of the crops of whole pictures are mirrored, left to right")
    turns: bool = Field(default=False, description="crops of whole pictures are turned by 0 to 3 quarters")
    sharpen_targets: bool = Field(
        default=False,
        description="pictures are sharpened by an unsharp mask before they are degraded and a restored one is held to them; the "
        "discriminator sees them as they are (Real-ESRGAN)",
    )
    pixel: Weight = Field(default=1.0, description="weight of the L1 distance of a restored picture from the clean one")
    squared: Weight = Field(
        default=0.0,
        description="weight of the mean squared distance (L2), beside that or in its place: the best picture is then the mean of "
        "what is possible, not its median",
    )
    perceptual: Weight = Field(
        default=0.0,
        description="weight of the L1 distance of what a pretrained network sees of both, in its layers before they are "
        "rectified (ESRGAN)",
    )
    perceptual_network: Literal["efficientnet_lite0", "hed_vgg16", "vgg16"] = Field(
        default="efficientnet_lite0",
        description="that network: efficientnet_lite0 (packaged), hed_vgg16 (an edge detector of the shape of VGG16, which "
        "`python -m atelier.extractors.hed` brings) or vgg16, which is fetched once",
    )
    adversarial: Weight = Field(
        default=0.0, description="weight of what the discriminator says of a restored picture; 0 for none, which learns faster"
    )

    @model_validator(mode="after")
    def _something_weighs(self) -> Self:
        if not (self.pixel or self.squared or self.perceptual):
            raise ValueError("nothing ties a restored picture to the clean one; set pixel, squared or perceptual above 0")
        if self.crop % self.scale:
            raise ValueError(f"crop {self.crop} is no multiple of scale {self.scale}; choose another")
        self.degradations.check(self.scale)
        return self
