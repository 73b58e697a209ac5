"""Sections `train.style` and `finetune.style`. Imports no PyTorch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from atelier.config.section import Section, Weight

KNOWN = "known"


class Settings(Section):
    """What a picture in a style is held to: its content, and the style's statistics, as layers of a pretrained network see them.

    Each loss is divided by that of a picture without features, so that weights mean the same in every network and layer.
    Johnson 2016 has statistics gram, Huang 2017 (AdaIN) moments.
    """

    network: Literal["efficientnet_lite0", "hed_vgg16", "vgg16", "vgg19"] = Field(
        default="efficientnet_lite0",
        description="network that compares: efficientnet_lite0 (in its package, the fastest), hed_vgg16 (an edge detector of the "
        "shape of VGG16, which `python -m atelier.extractors.hed` brings), vgg16 (published, fetched once) or vgg19 (a file)",
    )
    weights: Annotated[str, Field(min_length=1)] = Field(
        default=KNOWN,
        description="its weights: known, which are those that it is known by, or a .safetensors or .pth file, or its s3:// URI",
    )
    sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = Field(
        default="", description="of a file of weights its sha256, since a run's result depends on it"
    )
    content_layer: str = Field(default="", description='layer by which contents are compared; "" for the network\'s usual one')
    style_layers: list[str] = Field(
        default=[], description="layers by which styles are compared; [] for the network's usual ones"
    )
    statistics: Literal["gram", "moments"] = Field(
        default="gram",
        description="what a style is in a layer: gram (how much channels occur together) or moments (their means and deviations)",
    )
    content: Weight = Field(default=1.0, description="weight of the content")
    style: Weight = Field(default=10.0, description="weight of the style, the mean over its layers")
    variation: Weight = Field(
        default=0.0, description="weight of the mean squared difference of neighboring pixels, which keeps grain away"
    )
    identity: Weight = Field(
        default=0.0,
        description="weight of the L1 distance of a content from itself in its own style, which adain should leave as it is; "
        "with content and style 0 its decoder learns that alone, in a fifth of the time, for a fine-tuning to begin with",
    )
    crop: Annotated[int, Field(ge=0)] = Field(
        default=0, description="side of the crops of whole pictures that training sees, in pixels; 0 for data.NAME.resolution"
    )
    flips: bool = Field(default=False, description="half of the crops of whole pictures are mirrored, left to right")

    @model_validator(mode="after")
    def _hashed(self) -> Self:
        if (self.weights == KNOWN) != (self.sha256 == ""):
            raise ValueError("sha256 goes with a file of weights; set it to the file's (sha256sum FILE), or leave both out")
        if not (self.content or self.style or self.identity):
            raise ValueError("content, style and identity are all 0, so that nothing is learnt; set one of them")
        return self
