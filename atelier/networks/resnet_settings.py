"""Section `model.resnet`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from atelier.networks.sections import ResidualSettings


class Settings(ResidualSettings):
    """Miyato 2018."""

    title = "Spectral-norm ResNet GAN (Miyato 2018)"

    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.1,
        description="probability that a channel of the generator is left out: what varies an image beside the latent, in "
        "training",
    )
