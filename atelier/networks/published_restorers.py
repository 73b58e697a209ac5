"""What readers of published networks that restore pictures share."""

from __future__ import annotations

from typing import Any

from atelier.networks.layers import ImageShape
from atelier.networks.published import Published, Tensors, translator
from atelier.networks.published_resnet import picture, whole

SIDE = 64  # of the input, which those for 4 times the side learned from; they take others


def restorer(architecture: str, section: dict[str, Any], channels: int, scale: int, ours: Tensors) -> Published:
    """A restorer of this family. Raises PublishedError where what it makes is no picture."""
    taken = picture(channels).model_copy(update={"resolution": SIDE})
    shape = ImageShape(scale * SIDE, channels, 0)
    return translator(architecture, whole(architecture, section), shape, {"image": taken}, ours, "restoration")
