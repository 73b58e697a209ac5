"""What readers of published translators share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from atelier.config.model import family
from atelier.networks.inputs import Picture
from atelier.networks.layers import ImageShape
from atelier.networks.published import Published, PublishedError, Tensors, translator

SIDE = 256  # of the pictures that published translators learned from; they take others
STATISTICS = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$")


def take(theirs: Tensors, names: Mapping[str, str]) -> Tensors:
    """The weights and biases of layers, out of `theirs`, by our names of these layers."""
    return {f"{own}.{part}": theirs.pop(f"{name}.{part}") for name, own in names.items() for part in ("weight", "bias")}


def residual_blocks(theirs: Tensors) -> int:
    """How many residual blocks there are."""
    return len({match[1] for name in theirs if (match := re.match(r"model\.(\d+)\.conv_block\.", name))})


def resnet(architecture: str, section: dict[str, Any], theirs: Tensors, ours: Tensors, blocks: int, first: int) -> Published:
    """A translator of residual blocks, the first of which has number `first` in `theirs`; statistics in old files are unused."""
    for block in range(blocks):
        name, own = f"model.{first + block}.conv_block", f"blocks.{block}"
        ours |= take(theirs, {f"{name}.1": f"{own}.first", f"{name}.5": f"{own}.second"})
    for name in [name for name in theirs if STATISTICS.search(name)]:
        theirs.pop(name)
    width, channels = ours["first.convolution.weight"].shape[:2]
    shape = ImageShape(SIDE, len(ours["last.weight"]), 0)
    values = {**section, "width": width, "blocks": blocks, "eps": 1e-5}
    return translator(architecture, whole(architecture, values), shape, {"image": picture(channels)}, ours, "translation")


def whole(architecture: str, values: dict[str, Any]) -> dict[str, Any]:
    """The section of an architecture, with defaults where a generator does not tell."""
    return family(architecture)(**values).model_dump(mode="json")


def picture(channels: int) -> Picture:
    """The input of a translator of pictures. Raises PublishedError for those that are no pictures."""
    if channels not in (1, 3):
        raise PublishedError(f"it takes {channels} channels, but a picture has 1 or 3")
    return Picture(channels=1 if channels == 1 else 3, resolution=SIDE)
