"""Section `model.srresnet`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from atelier.config.section import PositiveInt, Rate
from atelier.networks.restoration_sections import EnlargerSettings


class Settings(EnlargerSettings):
    """Ledig 2017, and the form without norms that came of it."""

    title = "SRResNet (Ledig 2017)"

    norm: Literal["none", "batch"] = Field(
        default="none",
        description="norm of the generator: none (MSRResNet, the form of today) or the paper's batch, with 9x9 convolutions at "
        "both ends, which at small batches gives other pictures after training than in it",
    )
    residual: bool = Field(
        default=True,
        description="the generator adds to its input, which is enlarged bilinearly; the paper's, with batch norm, does not",
    )
    norm_discriminator: Literal["none", "batch"] = Field(
        default="none",
        description="norm of the discriminator: none, or the paper's batch, which explodes where a batch is of one color",
    )
    layers_discriminator: PositiveInt = Field(
        default=4, description="halvings in the discriminator, whose patches are of 13 px for 2, 29 for 3, 61 for 4"
    )
    eps: Rate = Field(default=1e-3, description="added to the variance in norms; the papers have 1e-5")

    @property
    def normalized(self) -> bool:  # type: ignore[override]
        """By batch norm, where one of the networks has it."""
        return "batch" in (self.norm, self.norm_discriminator)

    def check_discriminator(self, resolution: int) -> None:
        if resolution >> self.layers_discriminator < 2:
            most = (resolution // 2).bit_length() - 1
            raise ValueError(
                f"model.srresnet.layers_discriminator is {self.layers_discriminator}, which leaves no patches of {resolution} "
                f"px: choose 1 to {most}"
            )
