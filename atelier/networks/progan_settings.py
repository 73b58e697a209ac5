"""Section `model.progan`."""

from __future__ import annotations

from pydantic import Field

from atelier.config.section import Share
from atelier.networks.sections import EqualizedSettings


class Settings(EqualizedSettings):
    """Karras 2018."""

    title = "Progressive GAN (Karras 2018)"

    grown: Share = Field(
        default=0.6,
        description="share of the training after which the networks have grown to the whole resolution; stages and fades take "
        "equal parts of it",
    )
