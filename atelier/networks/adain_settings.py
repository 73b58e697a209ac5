"""Section `model.adain`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from atelier.config.model import FamilySettings

SHRINKAGE = {"relu3_1": 4, "relu4_1": 8}  # of the side at each layer
SKIPPED = ("relu1_1", "relu2_1", "relu3_1")  # layers that reach the decoder by skip connections, as far as they lie before
LEAST = 4  # pixels a side of the smallest map


class Settings(FamilySettings):
    """Huang and Belongie 2017."""

    title = "AdaIN (Huang 2017)"
    start = "pictures"

    encoder: Literal["hed_vgg16", "vgg16", "vgg19"] = Field(
        default="vgg19",
        description="pretrained network that sees content and style, whose weights stay as they are; train.style.network is the "
        "same one",
    )
    layer: Literal["relu3_1", "relu4_1"] = Field(
        default="relu4_1",
        description="its last layer, whose features take the style's moments: relu4_1 (the paper's), or relu3_1, which is learnt "
        "in a fraction of the time, keeps more of the content and moves smaller patterns",
    )

    skips: bool = Field(
        default=False,
        description="the decoder also sees the encoder's layers before the last, relu1_1, relu2_1 and so on, each with the "
        "style's moments (Sheng et al. 2018, section 3.2): pictures are sharp after minutes, and keep more of the content; the "
        "paper's AdaIN has none",
    )
    narrowing: Literal[1, 2, 4] = Field(
        default=1, description="how many times fewer channels the decoder has than the encoder; 1 is the paper's"
    )

    @property
    def levels(self) -> tuple[str, ...]:
        """The encoder's layers that take the style's moments, the last one last."""
        return (*(name for name in SKIPPED if self.skips and name < self.layer), self.layer)

    def check(self, resolution: int) -> None:
        shrinkage = SHRINKAGE[self.layer]
        if resolution % shrinkage or resolution < LEAST * shrinkage:
            raise ValueError(
                f"model.adain shrinks the side by {shrinkage} ({self.layer}), and {resolution} px are no multiple of it or leave "
                f"less than {LEAST}: choose another data.NAME.resolution"
            )
