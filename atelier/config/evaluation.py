"""Section `evaluate` of params.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from atelier.config.metrics import Need, metrics
from atelier.config.section import PositiveInt, Section, Share

Extractor = Literal["efficientnet_lite0", "inception", "dinov2", "onnx"]
Layer = Literal["default", "64", "192", "768", "2048"]
if TYPE_CHECKING:
    Metric = str
else:
    Metric = Literal[tuple(metrics())]


class EvaluateSettings(Section):
    """The measurement of generators: metrics, network and number of images."""

    extractor: Extractor = Field(
        description="network whose features are compared: efficientnet_lite0, inception (the only one whose distance is called "
        "FID), dinov2, or onnx (your own)"
    )
    weights: Annotated[str, Field(min_length=1)] = Field(
        description="packaged (efficientnet_lite0 only), published (inception: fetched once, hash checked), a file, or an s3:// "
        "URI"
    )
    layer: Layer = Field(description="inception's features: 64, 192, 768 or 2048, its default; default for other networks")
    metrics: Annotated[list[Metric], Field(min_length=1)] = Field(
        description="; ".join(f"{name} ({metric.title})" for name, metric in metrics().items())
    )
    samples: Annotated[int, Field(ge=16)] = Field(description="generated images that are measured, at least 16")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        description="seed of their latents, of KID's subsets and of the classifier"
    )
    batch: PositiveInt = Field(description="images generated at once while the generator is measured")
    max_distance: Annotated[float, Field(gt=0)] = Field(
        description="Fréchet distance above which a generator is rejected: Kubeflow goes no further with it, and register "
        "refuses it"
    )
    min_class_share: Share = Field(
        description="share of the rarest class below which a generator is rejected (with the classifier among the metrics)"
    )

    @field_validator("metrics")
    @classmethod
    def _once(cls, metrics: list[Metric]) -> list[Metric]:
        if len(set(metrics)) < len(metrics):
            raise ValueError(f"{metrics} names one twice; name each once")
        return metrics

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if self.extractor == "efficientnet_lite0" and self.weights != "packaged":
            raise ValueError(f"weights {self.weights} are not for efficientnet_lite0, which has its own: set packaged")
        if self.extractor == "inception" and self.weights == "packaged":
            raise ValueError("weights packaged are not for inception: set published (fetched once), a file or an s3:// URI")
        if self.extractor in ("dinov2", "onnx") and self.weights in ("packaged", "published"):
            raise ValueError(f"weights {self.weights} are not for {self.extractor}: set the path of the file, or its s3:// URI")
        if self.extractor != "inception" and self.layer != "default":
            raise ValueError(f"layer {self.layer} is one of inception's, and extractor is {self.extractor}: set layer: default")
        has_logits = self.extractor in ("efficientnet_lite0", "inception") and self.layer in ("default", "2048")
        for name in self.metrics:
            if Need.LOGITS in metrics()[name].needs and not has_logits:
                why = f"{self.extractor} with layer {self.layer} has none"
                raise ValueError(f"metrics: {metrics()[name].refusal(Need.LOGITS, why)}")
        return self
