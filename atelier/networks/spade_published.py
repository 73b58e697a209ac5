"""The generators of SPADE (GauGAN), which the authors publish, in the names of spade.py.

The classes of the label map get numbers as names and colors. Networks that see the edges of instances, too, have these as their
last class.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from atelier.networks.inputs import LabelMap, Noise, Takes
from atelier.networks.layers import ImageShape
from atelier.networks.published import ORIGINAL, Published, PublishedError, Tensors, translator
from atelier.networks.published_resnet import SIDE, take, whole

TITLE = "SPADE"
MARKS = ("head_0.norm_0.mlp_shared.0.weight",)  # tensors that only this kind of network has
BLOCKS = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3")
DOUBLINGS = 5  # the authors' "normal"; those of "more" have the same tensors
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def read(theirs: Tensors) -> Published:
    """A generator of seven blocks, from noise or from the label map. Takes what it uses out of `theirs`."""
    labels, width = theirs[MARKS[0]].shape[1], theirs["conv_img.weight"].shape[1]
    hidden, batch = len(theirs[MARKS[0]]), f"{BLOCKS[0]}.norm_0.param_free_norm.running_mean" in theirs
    noise = theirs["fc.weight"].shape[1] if theirs["fc.weight"].ndim == 2 else 0
    side = _side(len(theirs["fc.weight"]), 16 * width) if noise else SIDE
    takes: Takes = {"noise": Noise(size=noise, truncation=False)} if noise else {}
    colors = [f"#{index + 1:06x}" for index in range(labels)]
    takes["map"] = LabelMap(classes=[str(index) for index in range(labels)], colors=colors, resolution=side)
    ours = take(theirs, {"fc": "linear" if noise else "first", "conv_img": "last"})
    for number, name in enumerate(BLOCKS):
        own, skip = f"blocks.{number}", f"{name}.conv_s.weight_orig" in theirs
        ours |= _spectral(theirs, f"{name}.conv_0", f"{own}.first") | _spectral(theirs, f"{name}.conv_1", f"{own}.second")
        for index in range(2):
            ours |= _modulation(theirs, f"{name}.norm_{index}", f"{own}.modulations.{index}")
            ours |= _statistics(theirs, f"{name}.norm_{index}", f"{own}.norms.{index}")
        if skip:
            ours |= _spectral(theirs, f"{name}.conv_s", f"{own}.skip") | _modulation(theirs, f"{name}.norm_s", f"{own}.around")
            _statistics(theirs, f"{name}.norm_s", "")  # of the same maps as the first norm's
    norm = "batch" if batch else "instance"
    section = {"width": width, "width_labels": hidden, "norm": norm, "eps": 1e-5, "noise": noise, "doublings": DOUBLINGS}
    return translator("spade", whole("spade", section), ImageShape(side, len(ours["last.weight"]), 0), takes, ours, "paired")


def _side(numbers: int, width: int) -> int:
    """Pixels of the picture whose first map has so many numbers. Raises PublishedError for pictures that are not square."""
    side = round((numbers / width) ** 0.5)
    if side**2 * width != numbers:
        raise PublishedError(f"its first map has {numbers // width} places, which are no square; spade makes square pictures")
    return side * 2**DOUBLINGS


def _spectral(theirs: Tensors, name: str, own: str) -> Tensors:
    """A convolution with spectral norm; files of before PyTorch 1 lack one of its two vectors, which follows from the other."""
    weight, left = theirs.pop(f"{name}.weight_orig"), theirs.pop(f"{name}.weight_u")
    right: Tensor | None = theirs.pop(f"{name}.weight_v", None)
    vectors = f"{own}.parametrizations.weight.0.norm"
    return {
        f"{own}.{ORIGINAL.format('weight')}": weight,
        f"{vectors}._u": left,
        f"{vectors}._v": F.normalize(left @ weight.flatten(1), dim=0) if right is None else right,
        **({f"{own}.bias": theirs.pop(f"{name}.bias")} if not name.endswith("conv_s") else {}),
    }


def _modulation(theirs: Tensors, name: str, own: str) -> Tensors:
    """Gains and shifts, which are one convolution here."""
    both = {
        f"{own}.both.{part}": torch.cat([theirs.pop(f"{name}.mlp_{which}.{part}") for which in ("gamma", "beta")])
        for part in ("weight", "bias")
    }
    return both | take(theirs, {f"{name}.mlp_shared.0": f"{own}.shared"})


def _statistics(theirs: Tensors, name: str, own: str) -> Tensors:
    """What batch norm has seen; nothing with instance norm."""
    found = {part: theirs.pop(f"{name}.param_free_norm.{part}", None) for part in STATISTICS}
    return {f"{own}.{part}": value for part, value in found.items() if value is not None}
