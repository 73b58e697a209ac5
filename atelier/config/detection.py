"""Section `detect` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from atelier.config.section import Name, PositiveInt, Rate, RegisteredName, Section, Share

Kept = Literal["network", "features", "spectrum", "residuals"]


class DetectSettings(Section):
    """The detector that tells generated images from real ones. A project without this section has none."""

    name: RegisteredName = Field(description="its name in the registry: letters, digits, _ and -")
    kept: Kept = Field(
        description="which of those that are measured is kept: network (a small CNN), features (lines through those of "
        "EfficientNet-Lite0), spectrum (through logarithms of frequencies), residuals (through how neighboring values differ)"
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
    generators: dict[Name, list[str]] = Field(
        default={},
        description="generators that components.train_generators trains for it: of each, by name, what it differs in from "
        'sections model and train, as --set takes it (["model.architecture=r3gan", "train.images=30000"])',
    )
    min_auc: Share = Field(
        default=0.0,
        description="mean AUC on unseen generators, images as they are, below which it is not registered; 0.0 for no such floor",
    )
    min_auc_jpeg_75: Share = Field(default=0.0, description="the same after JPEG of quality 75; 0.0 for no such floor")
    max_false_positives: Share = Field(
        default=1.0,
        description="mean share of held-out real images above the threshold, after whichever change there are most, above which "
        "it is not registered; 1.0 for no such ceiling",
    )
