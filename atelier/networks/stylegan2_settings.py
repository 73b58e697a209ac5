"""Section `model.stylegan2`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from atelier.config.section import PositiveInt, Share
from atelier.networks.sections import EqualizedSettings

Form = Literal["skip", "residual"]


class Settings(EqualizedSettings):
    """Karras 2020."""

    title = "StyleGAN2 (Karras 2020)"
    styles = True

    mapping_layers: PositiveInt = Field(default=2, description="layers from the latent to the style")
    mixing: Share = Field(
        default=0.0, description="share of the images that are generated with the styles of two latents, in training"
    )
    generator: Form = Field(default="skip", description="form of the generator: skip (each stage adds to the image) or residual")
    discriminator: Form = Field(
        default="residual", description="form of the discriminator: residual, or skip (each stage sees the image)"
    )
