"""Section `model.pix2pixhd`."""

from __future__ import annotations

from pydantic import Field

from atelier.config.section import PositiveInt
from atelier.networks.translation_sections import Count, ResamplingSettings


class Settings(ResamplingSettings):
    """Wang 2018."""

    title = "pix2pixHD (Wang 2018)"

    halvings: Count = Field(
        default=4, description="how often the side is halved before the residual blocks; at 64 px take 3 or less"
    )
    enhancer: bool = Field(
        default=False,
        description="a second, half as wide network works at the full side around the first one, which sees the picture's half",
    )
    blocks_enhancer: PositiveInt = Field(default=3, description="residual blocks of that second network")
    scales: PositiveInt = Field(
        default=2, description="sizes at which the discriminator judges a picture: itself, its half, its quarter, ..."
    )

    @property
    def shrinkage(self) -> int:
        return super().shrinkage * (2 if self.enhancer else 1)
