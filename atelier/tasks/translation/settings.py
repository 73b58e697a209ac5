"""Sections `train.translation` and `finetune.translation`. Imports no PyTorch."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from atelier.config.section import PositiveInt, Section, Share, Weight


class Settings(Section):
    """What keeps a translation true to its input: a way back (`cycle`), or patches that resemble their own place (`contrast`).

    CycleGAN has cycle 10 and identity 5 (identity is 0.5 of the paper's lambda), CUT contrast 1 and contrast_identity 1, FastCUT
    contrast 10 and flip 0.5.
    """

    cycle: Weight = Field(
        default=10.0,
        description="weight of the L1 distance of an image from its translation there and back (CycleGAN); 0 learns one "
        "direction only, and then contrast has to hold what is seen",
    )
    identity: Weight = Field(
        default=5.0, description="weight of the L1 distance of an image from its translation into its own set, which keeps colors"
    )
    contrast: Weight = Field(
        default=0.0, description="weight of PatchNCE between input and output (CUT): a patch resembles its own place most"
    )
    contrast_identity: Weight = Field(
        default=0.0, description="weight of PatchNCE between an image and its translation into its own set (CUT)"
    )
    contrast_layers: Annotated[list[str], Field(min_length=1)] = Field(
        default=["image", "down1", "down2", "block1", "block5"],
        description="maps of the generator that PatchNCE compares: image, down1, down2, ..., block1, block2, ...",
    )
    places: PositiveInt = Field(default=256, description="places of each map that PatchNCE compares")
    flip: Share = Field(
        default=0.0, description="probability that an image is mirrored, with its translation held to mirror too (FastCUT)"
    )
    pool: Annotated[int, Field(ge=0)] = Field(
        default=50, description="earlier translations that the discriminators are shown among new ones; 0 for none"
    )

    @model_validator(mode="after")
    def _something_holds(self) -> Self:
        if not (self.cycle or self.contrast):
            raise ValueError("nothing ties a translation to its input; set cycle (CycleGAN) or contrast (CUT)")
        if self.contrast_identity and not self.contrast:
            raise ValueError("contrast_identity goes with contrast; set contrast, or contrast_identity: 0.0")
        if self.cycle and self.contrast:
            raise ValueError("cycle and contrast are two ways to the same end; set one of them to 0.0")
        return self
