"""Section `model.johnson`."""

from __future__ import annotations

from pydantic import Field

from atelier.config.model import FamilySettings
from atelier.config.section import PositiveInt, Rate

SHRINKAGE = 4  # of two halvings
LEAST = 4  # pixels a side of the smallest map


class Settings(FamilySettings):
    """Johnson 2016, with instance norm (Ulyanov 2016) and nearest neighbors before convolutions."""

    title = "Johnson (2016)"
    start = "pictures"

    width: PositiveInt = Field(default=32, description="channels of the generator's first layer; doubled at each of two halvings")
    blocks: PositiveInt = Field(default=5, description="residual blocks at the smallest map")
    residual: bool = Field(
        default=False,
        description="the generator adds to its input and begins as the identity: it shows something after far fewer pictures",
    )
    eps: Rate = Field(
        default=1e-5,
        description="added to the variance in instance norm; 1e-3 where pictures have large areas of one color",
    )

    def check(self, resolution: int) -> None:
        if resolution % SHRINKAGE or resolution < LEAST * SHRINKAGE:
            raise ValueError(
                f"model.johnson shrinks the side by {SHRINKAGE}, and {resolution} px are no multiple of it or leave less than "
                f"{LEAST}: choose another data.NAME.resolution"
            )
