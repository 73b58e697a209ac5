"""Section `model.denoising_unet`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from atelier.config.section import PositiveInt
from atelier.networks.restoration_sections import PixelwiseSettings


class Settings(PixelwiseSettings):
    """Zhang 2021."""

    title = "denoising U-Net (DRUNet, Zhang 2021)"

    width: PositiveInt = Field(default=64, description="channels of the generator's first layer; doubled at each halving")
    blocks: PositiveInt = Field(default=4, description="residual blocks of the generator between two changes of the side")
    halvings: Annotated[int, Field(ge=1, le=5)] = Field(default=3, description="how often the picture's side is halved")

    def check(self, resolution: int) -> None:
        super().check(resolution)
        if resolution % 2**self.halvings:
            raise ValueError(
                f"model.denoising_unet.halvings is {self.halvings}, and {resolution} px are no multiple of {2**self.halvings}: "
                "choose fewer, or another side"
            )
