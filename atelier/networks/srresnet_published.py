"""The generators of BasicSR without norms (MSRResNet), which its authors publish, in the names of srresnet.py."""

from __future__ import annotations

import math

from atelier.networks.published import Published, Tensors
from atelier.networks.published_resnet import take
from atelier.networks.published_restorers import restorer

TITLE = "MSRResNet"
MARKS = ("body.0.conv1.weight",)  # tensors that only this kind of network has


def read(theirs: Tensors) -> Published:
    """A generator that enlarges by 2, 3 or 4. Takes what it uses out of `theirs`."""
    blocks = 0
    while f"body.{blocks}.conv1.weight" in theirs:
        blocks += 1
    names = {"conv_first": "first.0", "upconv1": "up.0.0", "conv_hr": "last.0", "conv_last": "last.2"}
    twice = {"upconv2": "up.1.0"} if "upconv2.weight" in theirs else {}
    inner = {
        f"body.{block}.conv{1 + at}": f"blocks.{block}.{('first', 'second')[at]}" for block in range(blocks) for at in (0, 1)
    }
    ours = take(theirs, names | twice | inner)
    width, channels = ours["first.0.weight"].shape[:2]
    scale = 4 if twice else math.isqrt(len(ours["up.0.0.weight"]) // width)
    return restorer("srresnet", {"width": width, "blocks": blocks, "norm": "none", "residual": True}, channels, scale, ours)
