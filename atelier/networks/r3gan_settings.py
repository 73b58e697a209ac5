"""Section `model.r3gan`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from atelier.config.model import STAGES, FamilySettings
from atelier.config.section import PositiveInt


class Settings(FamilySettings):
    """Huang 2024."""

    title = "R3GAN (Huang 2024)"
    projects = True

    channels: Annotated[list[PositiveInt], Field(min_length=1)] = Field(
        default=[64, 64, 32],
        description="channels of each stage, from the smallest up: one for each of 7, 14, 28 px or 4, 8, 16, 32 ... px",
    )
    blocks: PositiveInt = Field(default=1, description="residual blocks a stage")
    expansion: PositiveInt = Field(default=2, description="inner width of a block over its outer width")
    group_size: PositiveInt = Field(default=16, description="channels a group of the 3x3 convolution")

    @model_validator(mode="after")
    def _groups(self) -> Self:
        for width in self.channels:
            if width * self.expansion % self.group_size:
                raise ValueError(
                    f"channels {width} x expansion {self.expansion} is not a multiple of group_size {self.group_size}; "
                    "choose a group_size that divides it"
                )
        return self

    def check(self, resolution: int) -> None:
        if len(self.channels) != (stages := STAGES[resolution]):
            raise ValueError(
                f"model.r3gan.channels has {len(self.channels)} widths, but {resolution} px need {stages}: one for each "
                "doubling of the side, from the smallest up"
            )
