"""The generators of CUT and FastCUT, which the authors publish, in the names of cut.py."""

from __future__ import annotations

from atelier.networks.published import Published, Tensors
from atelier.networks.published_resnet import residual_blocks, resnet, take

TITLE = "CUT"
MARKS = ("model.7.filt",)  # tensors that only this kind of network has


def read(theirs: Tensors) -> Published:
    """A generator of two halvings with filters and instance norm. Takes what it uses out of `theirs`."""
    blocks = residual_blocks(theirs)
    after = 12 + blocks
    for filtered in (7, 11, after, after + 4):  # constants
        theirs.pop(f"model.{filtered}.filt")
    ours = take(theirs, {"model.1": "first.convolution", "model.4": "down.0.convolution", "model.8": "down.1.convolution"})
    ours |= take(theirs, {f"model.{after + 1}": "up.0.convolution", f"model.{after + 5}": "up.1.convolution"})
    ours |= take(theirs, {f"model.{after + 9}": "last"})
    return resnet("cut", {}, theirs, ours, blocks, first=12)
