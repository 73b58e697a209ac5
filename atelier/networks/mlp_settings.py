"""Section `model.mlp`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from atelier.config.model import FamilySettings
from atelier.config.section import PositiveInt

Widths = Annotated[
    list[PositiveInt],
    Field(min_length=1, description="widths of the generator's hidden layers; the discriminator mirrors them"),
]


class Settings(FamilySettings):
    """Goodfellow 2014."""

    title = "MLP GAN (Goodfellow 2014)"

    hidden: Widths = Field(default=[256])
