"""Section `model.pix2pix`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from atelier.config.section import Beta, PositiveInt, Rate
from atelier.networks.translation_sections import TranslationSettings


class Settings(TranslationSettings):
    """Isola 2017."""

    title = "pix2pix (Isola 2017)"

    width: PositiveInt = Field(
        default=64, description="channels of the generator's first layer; doubled at each halving, up to eight times as many"
    )
    norm: Literal["instance", "batch"] = Field(
        default="instance",
        description="norm of both networks: instance, or the paper's batch, which is the same at a batch of 1 and beyond it "
        "gives other pictures after training than in it",
    )
    eps: Rate = Field(default=1e-3, description="added to the variance in these norms; the paper has 1e-5")
    dropout: Beta = Field(
        default=0.5,
        description="share of the values that the inner layers of the generator lose in training, its only randomness",
    )
    upsample: Literal["transposed", "nearest"] = Field(
        default="transposed",
        description="how maps are doubled: transposed (the paper's 4x4 convolutions, which may draw a checkerboard) or nearest "
        "(neighbors repeated, then convolved 3x3)",
    )

    @property
    def normalized(self) -> bool:  # type: ignore[override]
        """By batch norm, where it is chosen."""
        return self.norm == "batch"

    def check(self, resolution: int) -> None:
        super().check(resolution)
        if resolution < 32 or resolution.bit_count() > 1:
            raise ValueError(
                f"model.pix2pix halves the side down to 1 px, and {resolution} px are no power of two from 32: choose another "
                "resolution"
            )
