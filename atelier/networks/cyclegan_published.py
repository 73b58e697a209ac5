"""The generators of pytorch-CycleGAN-and-pix2pix without pairs, which its authors publish, in the names of cyclegan.py."""

from __future__ import annotations

from atelier.networks.published import Published, Tensors
from atelier.networks.published_resnet import residual_blocks, resnet, take

TITLE = "CycleGAN"
MARKS = ("model.10.conv_block.1.weight",)  # tensors that only this kind of network has


def read(theirs: Tensors) -> Published:
    """A generator of two halvings with instance norm. Takes what it uses out of `theirs`."""
    blocks = residual_blocks(theirs)
    after = 10 + blocks
    ours = take(theirs, {"model.1": "first.convolution", "model.4": "down.0.convolution", "model.7": "down.1.convolution"})
    ours |= take(theirs, {f"model.{after}": "up.0.convolution", f"model.{after + 3}": "up.1.convolution"})
    ours |= take(theirs, {f"model.{after + 7}": "last"})
    return resnet("cyclegan", {"upsample": "transposed"}, theirs, ours, blocks, first=10)
