"""Sections `train.semantic` and `finetune.semantic`. Imports no PyTorch."""

from __future__ import annotations

from pydantic import Field

from atelier.config.section import Section, Weight


class Settings(Section):
    """What the discriminator learns beside the class of each pixel (OASIS)."""

    labelmix: Weight = Field(
        default=10.0,
        description="weight of what the discriminator says of a mixture, whole classes of which are real and the others "
        "generated, against the mixture of what it says of both (OASIS; 5 for street scenes)",
    )
