"""Sections `registry` and `gate` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from atelier.config.section import Section, Share, Weight


class RegistrySettings(Section):
    """Names under which runs and generators are kept in MLflow."""

    experiment: Annotated[str, Field(min_length=1)] = Field(description="MLflow experiment of the runs")
    base: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")] = Field(
        description="registered name of the base generator: letters, digits, _ and -"
    )
    finetuned: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")] = Field(
        description="registered name of the fine-tuned generator, another than base"
    )

    @model_validator(mode="after")
    def _two_names(self) -> Self:
        if self.base == self.finetuned:
            raise ValueError(f"base and finetuned are both {self.base}; give each generator a name of its own")
        return self


class GateSettings(Section):
    """Who becomes champion in the registry."""

    primary: Literal["frechet", "kernel"] = Field(description="number that decides, lower is better: frechet or kernel")
    min_delta: Weight = Field(
        description="by how much more than this it must beat the champion's, whose 95 % interval must not meet its own"
    )
    min_coverage: Share = Field(
        description="share of real images with a generated one near them, below which it has collapsed; 0.0 for no such floor"
    )
    min_recall: Share = Field(
        description="share of real images that it might have painted, below which it has collapsed; 0.0 for no such floor"
    )
    min_class_share: Share = Field(description="share of its rarest class, below which it has collapsed; 0.0 for no such floor")
    max_memorised: Share = Field(
        description="share of its images that are nearer to a training image than 99 % of held-out ones; 1.0 for no such ceiling"
    )
