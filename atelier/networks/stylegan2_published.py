"""The generator of stylegan2-ada-pytorch, whose weights its authors publish, in the names of stylegan2.py."""

from __future__ import annotations

import math
import re

from atelier.networks.layers import ImageShape
from atelier.networks.published import ORIGINAL, Published, PublishedError, Tensors, published

TITLE = "stylegan2-ada-pytorch"
MARKS = ("synthesis.b4.const",)  # tensors that only this kind of network has
TRAINED_WITH = {"mixing": 0.9, "discriminator": "residual", "group": 4}  # nothing that is generated depends on it


def read(theirs: Tensors) -> Published:
    """The generator of stylegan2-ada-pytorch, skip or residual. Takes what it uses out of `theirs`."""
    sides = sorted(int(match[1]) for name in theirs if (match := re.fullmatch(r"synthesis\.b(\d+)\.conv1\.weight", name)))
    layers = sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in theirs)
    widths = [len(theirs[f"synthesis.b{side}.conv1.weight"]) for side in sides]
    dim, entering = theirs["mapping.fc0.weight"].shape
    classes = theirs["mapping.embed.weight"].shape[1] if "mapping.embed.weight" in theirs else 0
    if entering != dim * (2 if classes else 1):
        raise PublishedError(f"its mapping takes {entering} numbers and makes {dim}; stylegan2 has one size for latent and style")
    residual = f"synthesis.b{sides[-1]}.skip.weight" in theirs
    ours: Tensors = {"start": theirs.pop("synthesis.b4.const")}
    if classes:  # a linear map of one-hot vectors, whose columns are the classes
        rows = theirs.pop("mapping.embed.weight").T / math.sqrt(classes) + theirs.pop("mapping.embed.bias")
        ours[f"mapping.embedding.{ORIGINAL.format('weight')}"] = rows
    for index in range(layers):
        for part in ("weight", "bias"):
            ours[f"mapping.layers.{index}.{ORIGINAL.format(part)}"] = theirs.pop(f"mapping.fc{index}.{part}")
    convolutions = [name for side in sides for name in (f"b{side}.conv0", f"b{side}.conv1") if name != "b4.conv0"]
    for index, name in enumerate(convolutions):
        own = f"layers.{index}.convolution"
        ours |= _modulated(theirs, f"synthesis.{name}", own)
        if name.endswith("conv0"):  # which double the side: the authors convolve there, and correlate elsewhere
            weight = f"{own}.convolution.{ORIGINAL.format('weight')}"
            ours[weight] = ours[weight].flip(2, 3)
        ours[f"layers.{index}.bias"] = theirs.pop(f"synthesis.{name}.bias")
        ours[f"layers.{index}.strength"] = theirs.pop(f"synthesis.{name}.noise_strength")
        ours[f"layers.{index}.noise"] = theirs.pop(f"synthesis.{name}.noise_const")[None, None]
    for index, side in enumerate(sides[-1:] if residual else sides):
        ours |= _modulated(theirs, f"synthesis.b{side}.torgb", f"pixels.{index}")
        ours[f"biases.{index}"] = theirs.pop(f"synthesis.b{side}.torgb.bias")
    for index, side in enumerate(sides[1:] if residual else []):
        ours[f"around.{index}.{ORIGINAL.format('weight')}"] = theirs.pop(f"synthesis.b{side}.skip.weight")
    form = "residual" if residual else "skip"
    section = {"width": widths[-1], "widest": max(widths), "mapping_layers": layers, "generator": form, **TRAINED_WITH}
    return published("stylegan2", section, dim, ImageShape(sides[-1], len(ours["biases.0"]), classes), ours)


def _modulated(theirs: Tensors, name: str, own: str) -> Tensors:
    """A modulated convolution: the affine map of the style, and the weight."""
    return {
        f"{own}.style.{ORIGINAL.format('weight')}": theirs.pop(f"{name}.affine.weight"),
        f"{own}.style.bias": theirs.pop(f"{name}.affine.bias"),
        f"{own}.convolution.{ORIGINAL.format('weight')}": theirs.pop(f"{name}.weight"),
    }
