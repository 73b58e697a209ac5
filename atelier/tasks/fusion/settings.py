"""Sections `train.fusion` and `finetune.fusion`. Imports no PyTorch."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from atelier.config.section import Section, Share, Weight


class Settings(Section):
    """What holds a generator to its text and sound, and how often it has to do without them."""

    missing: Share = Field(
        default=0.2,
        description="probability with which each of text and sound is left out for a record, so that any subset works",
    )
    matching_penalty: Weight = Field(
        default=2.0,
        description="weight of the matching-aware gradient penalty (DF-GAN) on the discriminator, every penalty_every steps",
    )
    augmentation: Weight = Field(
        default=0.1,
        description="weight of the divergence of a text's code from the normal distribution, around whose mean it varies in "
        "training (conditioning augmentation); with 0 it does not vary, and texts that say nearly the same stay apart",
    )
    reconstruction: Weight = Field(
        default=0.0,
        description="weight of the L1 distance of what is made of a record's text or sound from the record's image (pix2pix): "
        "where a text names one image, it is clean soon and noise changes little; where it names many, they blur",
    )
    adversarial: Weight = Field(
        default=1.0,
        description="weight of what the discriminator says of a made image; 0 for none, where reconstruction is above 0: the "
        "generator learns faster then, and images are smoother",
    )
    nearest_of: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="where nothing is told, noise is drawn so many times, and the image nearest to the record's is held to it "
        "with weight reconstruction (implicit maximum likelihood, Li and Malik 2018); 0: the discriminator alone teaches noise",
    )
    contrast: Weight = Field(
        default=1.0, description="weight of the contrastive loss by which the sound encoder learns what a recording says"
    )
    temperature: Annotated[float, Field(gt=0)] = Field(default=0.1, description="temperature of that loss")

    @model_validator(mode="after")
    def _held_to_something(self) -> Self:
        if not self.reconstruction:
            unfit = [] if self.adversarial else ["adversarial is 0"]
            unfit += [f"nearest_of is {self.nearest_of}"] if self.nearest_of else []
            if unfit:
                raise ValueError(f"{' and '.join(unfit)}, and nothing holds an image to its record; set reconstruction above 0")
        return self
