"""The generators of pytorch-CycleGAN-and-pix2pix with pairs, which its authors publish, in the names of pix2pix.py.

Pictures are those that the authors make with --eval: their default takes batch statistics and dropout of the moment.
"""

from __future__ import annotations

from atelier.networks.layers import ImageShape
from atelier.networks.published import Published, Tensors, translator
from atelier.networks.published_resnet import picture, whole

TITLE = "pix2pix"
MARKS = ("model.model.0.weight",)  # tensors that only this kind of network has
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def read(theirs: Tensors) -> Published:
    """A U-Net with batch norm. Takes what it uses out of `theirs`: levels that are nested, each as number 1, then number 3."""
    levels, inside = 1, "model.model.1.model."
    while f"{inside}1.weight" in theirs:
        levels, inside = levels + 1, f"{inside}3.model."
    ours: Tensors = {}
    prefix = "model.model."
    for level in range(levels):
        inner, up = level == levels - 1, f"up.{levels - 1 - level}"
        position = 1 if level else 0  # of the convolution, after a rectifier
        ours[f"down.{level}.{position}.weight"] = theirs.pop(f"{prefix}{position}.weight")
        if level == 0:
            ours |= {f"{up}.1.{part}": theirs.pop(f"{prefix}3.{part}") for part in ("weight", "bias")}
            prefix = f"{prefix}1.model."
            continue
        if not inner:
            ours |= {f"down.{level}.2.{part}": theirs.pop(f"{prefix}2.{part}") for part in NORM}
        ours[f"{up}.1.weight"] = theirs.pop(f"{prefix}{3 if inner else 5}.weight")
        ours |= {f"{up}.2.{part}": theirs.pop(f"{prefix}{4 if inner else 6}.{part}") for part in NORM}
        prefix = f"{prefix}3.model."
    width, channels = ours["down.0.0.weight"].shape[:2]
    section = {"width": width, "norm": "batch", "eps": 1e-5, "dropout": 0.5, "upsample": "transposed"}
    shape = ImageShape(2**levels, ours[f"up.{levels - 1}.1.weight"].shape[1], 0)
    takes = {"image": picture(channels).model_copy(update={"resolution": shape.resolution})}
    return translator("pix2pix", whole("pix2pix", section), shape, dict(takes), ours, "paired")
