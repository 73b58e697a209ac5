"""Sections `train.paired` and `finetune.paired`. Imports no PyTorch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from atelier.config.section import Section, Weight


class Settings(Section):
    """What a translation has in common with its target, beside what the discriminator says of it.

    pix2pix has l1 100; pix2pixHD and SPADE have feature_matching 10, perceptual 10 and no l1.
    """

    l1: Weight = Field(default=100.0, description="weight of the L1 distance of a translation from its target (pix2pix)")
    white: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0,
        description="weight of a white pixel of the target in that distance, beside 1 for one that is farthest from white; of "
        "drawings on white, white alone is nearly right",
    )
    feature_matching: Weight = Field(
        default=0.0,
        description="weight of the difference of what the discriminator's layers see of translation and target (pix2pixHD)",
    )
    perceptual: Weight = Field(
        default=0.0, description="weight of the difference of what a pretrained network sees of both, in its layers"
    )
    perceptual_network: Literal["efficientnet_lite0", "vgg16"] = Field(
        default="efficientnet_lite0", description="that network: efficientnet_lite0 (packaged), or vgg16, which is fetched once"
    )
