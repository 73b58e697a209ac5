"""Section `model.dcgan`."""

from __future__ import annotations

from pydantic import Field

from atelier.config.model import FamilySettings
from atelier.config.section import PositiveInt
from atelier.config.training import TrainSettings


class Settings(FamilySettings):
    """Radford 2016."""

    title = "DCGAN (Radford 2016)"
    normalized = True

    width: PositiveInt = Field(
        default=32, description="channels of the layer nearest to the image; doubled at each halving of the resolution"
    )
    batch_norm: bool = Field(
        default=False,
        description="batch norm in the discriminator (the generator has it always); false with r1 or r2, whose gradient norms it "
        "would mix over the batch",
    )

    def check_training(self, section: str, train: TrainSettings) -> None:
        if self.batch_norm and (penalized := train.penalizes_gradients):
            raise ValueError(
                f"model.dcgan.batch_norm ties an image's logit to its whole batch, so {' and '.join(penalized)} of {section} "
                f"have no gradient of a single image to penalize; set batch_norm: false, or take them out of "
                f"{section}.regularizers"
            )
