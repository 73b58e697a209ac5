"""Small networks for large images."""

from __future__ import annotations

from typing import Any

from atelier.config.model import STAGES, ModelSettings
from tests.support.small_models import model

NARROW = {"width_generator": 2, "widest_generator": 8, "width_discriminator": 2, "widest_discriminator": 8}
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [2]},
    "mlp_deep": {"hidden": [2, 2]},
    "dcgan": {"width": 1},
    "resnet": NARROW,
    "sagan": NARROW | {"attention": 5},
    "progan": {"width": 2, "widest": 8},
    "biggan": NARROW | {"attention": 5},
    "stylegan2": {"width": 1, "widest": 4},
    "gat": {"width": 8, "heads": 1, "patch": 64},
}


def small(family: str, side: int) -> ModelSettings:
    """The family in very small, for images of this side."""
    chosen = model(family, False, side, **(SMALL | {"r3gan": {"channels": [2] * STAGES[side], "group_size": 4}})[family])
    chosen.family.check(side)
    return chosen
