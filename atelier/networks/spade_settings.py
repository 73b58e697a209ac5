"""Section `model.spade`."""

from __future__ import annotations

from pydantic import Field

from atelier.config.section import PositiveInt
from atelier.networks.translation_sections import SemanticSettings


class Settings(SemanticSettings):
    """Park 2019."""

    title = "SPADE (Park 2019)"

    scales: PositiveInt = Field(
        default=2, description="sizes at which the discriminator judges a picture: itself, its half, its quarter, ..."
    )
