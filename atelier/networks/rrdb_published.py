"""The generators of ESRGAN and Real-ESRGAN, which the authors publish, in the names of rrdb.py.

They have named the layers in three ways: in ESRGAN's first files, in its later ones, and in BasicSR and Real-ESRGAN.
"""

from __future__ import annotations

from typing import NamedTuple

from atelier.networks.published import Published, PublishedError, Tensors
from atelier.networks.published_resnet import take
from atelier.networks.published_restorers import restorer
from atelier.networks.rrdb import LAYERS, UNSHUFFLED


class Names(NamedTuple):
    """Names of the layers: that of block, dense block and position, and that after so many blocks, have places for numbers."""

    first: str
    layer: str
    around: str
    up: tuple[str, str]
    last: tuple[str, str]

    @property
    def mark(self) -> str:
        """A tensor that only these names have."""
        return f"{self.layer.format(0, 1, 1)}.weight"


NAMES = (
    Names("model.0", "model.1.sub.{}.RDB{}.conv{}.0", "model.1.sub.{}", ("model.3", "model.6"), ("model.8", "model.10")),
    Names("conv_first", "RRDB_trunk.{}.RDB{}.conv{}", "trunk_conv", ("upconv1", "upconv2"), ("HRconv", "conv_last")),
    Names("conv_first", "body.{}.rdb{}.conv{}", "conv_body", ("conv_up1", "conv_up2"), ("conv_hr", "conv_last")),
)
TITLE = "ESRGAN"
MARKS = tuple(names.mark for names in NAMES)  # tensors that only this kind of network has


def read(theirs: Tensors) -> Published:
    """A generator of two doublings. Takes what it uses out of `theirs`. Raises PublishedError for fewer doublings."""
    names = next(names for names in NAMES if names.mark in theirs)
    blocks = 0
    while f"{names.layer.format(blocks, 1, 1)}.weight" in theirs:
        blocks += 1
    ours = take(
        theirs,
        {
            names.layer.format(block, dense + 1, layer + 1): f"blocks.{block}.dense.{dense}.layers.{layer}"
            for block in range(blocks)
            for dense in range(3)
            for layer in range(LAYERS)
        },
    )
    if f"{names.up[1]}.weight" not in theirs:
        raise PublishedError("it does not double the side twice, as those of the authors do")
    ours |= take(theirs, {names.first: "first", names.around.format(blocks): "around"})
    ours |= take(theirs, {name: f"up.{index}.1" for index, name in enumerate(names.up)})
    ours |= take(theirs, dict(zip(names.last, ("last.0", "last.2"), strict=True)))
    (width, seen), channels = ours["first.weight"].shape[:2], len(ours["last.2.weight"])
    scale = {UNSHUFFLED[scale] ** 2 * channels: scale for scale in (1, 2, 4)}.get(seen)
    if scale is None:
        raise PublishedError(
            f"it takes {seen} channels and makes {channels}, which is no picture and none of its pixels as channels"
        )
    section = {"width": width, "blocks": blocks, "growth": len(ours["blocks.0.dense.0.layers.0.weight"]), "residual": False}
    return restorer("rrdb", section, channels, scale, ours)
