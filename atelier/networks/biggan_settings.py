"""Section `model.biggan`."""

from __future__ import annotations

from pydantic import Field

from atelier.config.model import STAGES
from atelier.config.section import PositiveInt
from atelier.networks.sections import AttendingSettings


class Settings(AttendingSettings):
    """Brock 2019; the scales of its discriminator are Wang 2018's."""

    title = "BigGAN (Brock 2019)"
    projects = True

    embedding: PositiveInt = Field(
        default=32, description="dimensions of the class embedding that all layers of the generator share"
    )
    scales: PositiveInt = Field(
        default=1, description="sizes at which the discriminator judges an image: itself, its half, its quarter, ..."
    )

    def check(self, resolution: int) -> None:
        super().check(resolution)
        if self.scales >= (stages := STAGES[resolution]):
            raise ValueError(
                f"model.biggan.scales is {self.scales}, but images of {resolution} px can be judged at {stages - 1} scales at "
                f"most: choose 1 to {stages - 1}"
            )
