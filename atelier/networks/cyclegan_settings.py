"""Section `model.cyclegan`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from atelier.networks.translation_sections import ResNetTranslatorSettings


class Settings(ResNetTranslatorSettings):
    """Zhu 2017."""

    title = "CycleGAN (Zhu 2017)"

    upsample: Literal["transposed", "nearest", "shuffle"] = Field(
        default="transposed",
        description="how maps are doubled: transposed (the paper's convolutions, which may draw a checkerboard), nearest "
        "(neighbors repeated, then convolved; the slowest) or shuffle (channels become pixels)",
    )
