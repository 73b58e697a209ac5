"""Base classes for the sections of several architectures. Imports no PyTorch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from atelier.config.model import STAGES, FamilySettings
from atelier.config.section import PositiveInt
from atelier.config.training import TrainSettings

ATTENDED = 128  # largest side of a map that attends: its weights are side^4 / 4 numbers an image, 268 MB in float32
Group = Annotated[
    int,
    Field(ge=2, description="consecutive images over which the discriminator sees the minibatch's standard deviation"),
]


class ResidualSettings(FamilySettings):
    """Widths for each network of families with residual blocks."""

    normalized = True
    spectral_norm = True

    width_generator: PositiveInt = Field(
        default=32,
        description="channels of the generator's layer nearest to the image; doubled at each halving of the resolution",
    )
    widest_generator: PositiveInt = Field(default=128, description="largest number of channels of the generator's layers")
    width_discriminator: PositiveInt = Field(
        default=32, description="channels of the discriminator's first block; doubled at each further halving"
    )
    widest_discriminator: PositiveInt = Field(default=128, description="largest number of channels of the discriminator's layers")


class AttendingSettings(ResidualSettings):
    """Residual families whose networks attend."""

    attention: Annotated[int, Field(ge=1)] = Field(
        default=1, description="where both networks attend: how often the image is halved to the side of that feature map"
    )

    def check(self, resolution: int) -> None:
        stages, level, key = STAGES[resolution], self.attention, f"model.{self.name()}.attention"
        if level >= stages - 1:
            raise ValueError(
                f"{key} is {level}, but {resolution} px are halved {stages - 1} times, to the smallest feature map, which is too "
                f"small to attend: choose 1 to {stages - 2}"
            )
        if (side := resolution // 2**level) > ATTENDED:
            least = (resolution // ATTENDED).bit_length() - 1
            raise ValueError(
                f"{key} is {level}, in {resolution} px a feature map of {side} px, whose attention takes {side**4 / 1e9:.0f} GB "
                f"an image: choose {least} to {stages - 2}"
            )


class EqualizedSettings(FamilySettings):
    """Widths of both networks, and groups of a batch, of families with equalized learning rates."""

    width: PositiveInt = Field(
        default=32, description="channels of the layers nearest to the image; doubled at each halving of the resolution"
    )
    widest: PositiveInt = Field(default=128, description="largest number of channels of a layer")
    group: Group = 4

    def check_training(self, section: str, train: TrainSettings) -> None:
        share = train.batch // train.accumulate // train.nodes
        if share % self.group:
            raise ValueError(
                f"{section}: each node sees {share} images at once (batch / accumulate / nodes), which are no whole groups of "
                f"model.{self.name()}.group = {self.group} images; choose a batch or a group that fits"
            )
