"""Section `model.oasis`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from atelier.config.section import PositiveInt
from atelier.networks.translation_sections import Count, SemanticSettings


class Settings(SemanticSettings):
    """Sushko 2021."""

    title = "OASIS (Sushko 2021)"

    doublings: Literal[3, 4, 5] = Field(
        default=5,
        description="how often the generator's first map is doubled to the picture's side: 3 at 32 px, 4 at 64, 5 at 256",
    )
    noise: Count = Field(
        default=64,
        description="numbers of the noise that every block of the generator sees beside the label map, so that one map gives "
        "many pictures",
    )
    width_discriminator: PositiveInt = Field(
        default=128,
        description="channels of the discriminator's first two blocks; twice as many in the next two, then four times",
    )
    layers_discriminator: Annotated[int, Field(ge=2, le=6)] = Field(
        default=6, description="halvings in the discriminator, which doubles as often to tell the class of every pixel"
    )

    def check_discriminator(self, resolution: int) -> None:
        if resolution % 2**self.layers_discriminator:
            raise ValueError(
                f"model.oasis.layers_discriminator is {self.layers_discriminator}, and {resolution} px are no multiple of "
                f"{2**self.layers_discriminator}: choose fewer"
            )
