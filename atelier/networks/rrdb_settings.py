"""Section `model.rrdb`."""

from __future__ import annotations

from pydantic import Field

from atelier.config.section import PositiveInt
from atelier.networks.restoration_sections import EnlargerSettings, PixelwiseSettings


class Settings(EnlargerSettings, PixelwiseSettings):
    """Wang 2018 and 2021."""

    title = "RRDB (ESRGAN, Wang 2018; Real-ESRGAN, Wang 2021)"

    blocks: PositiveInt = Field(
        default=23, description="residual blocks of the generator, of three dense blocks each; 6 are published for drawings"
    )
    growth: PositiveInt = Field(default=32, description="channels that each layer of a dense block adds")
