"""Section `detect` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from atelier.config.section import PositiveInt, Rate, Section

Kept = Literal["network", "features", "spectrum"]


class DetectSettings(Section):
    """The detector that tells generated images from real ones. A project without this section has none."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")] = Field(
        description="its name in the registry: letters, digits, _ and -"
    )
    kept: Kept = Field(
        description="which of the three that are measured is kept: network (a small CNN), features (a line through those of "
        "EfficientNet-Lite0), spectrum (a line through the logarithms of frequencies)"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        description="seed of the images, of what is done to them, and of the network"
    )
    images: Annotated[int, Field(ge=64)] = Field(
        description="real images that it learns from, and as many generated ones, of all generators together; at least 64"
    )
    tested: Annotated[int, Field(ge=16)] = Field(
        description="held-out real images, and images of each generator, that it is measured with; at least 16"
    )
    shown: PositiveInt = Field(description="images that the network is shown, each as often as that needs")
    false_positives: Rate = Field(
        description="share of real images, held out from learning, that the threshold takes for generated ones"
    )
