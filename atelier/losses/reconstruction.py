"""Reconstruction losses: how far a generated image is from the one it should be.

L1                 Isola et al. 2017, eq. 3: E[|y - G(x)|]
L2                 Pathak et al. 2016, eq. 1, over everything: E[(y - G(x))^2], least where G(x) is the mean of y given x
weighted L1        the same, each pixel with a weight: of a mostly white image, white alone is nearly right
feature matching   Wang et al. 2018, eq. 3: the sum over a discriminator's layers of E[|D_i(y) - D_i(G(x))|]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from atelier.networks.layers import wide

Features = Sequence[Sequence[Tensor]]
"""What a discriminator sees, by scale and layer, [N, c, h, w] each."""


def l1(fake: Tensor, real: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean of |fake - real| over everything [N, C, H, W], a scalar; `weight` [N, 1, H, W] multiplies each pixel's."""
    difference = (wide(fake) - wide(real)).abs()
    return (difference if weight is None else difference * weight).mean()


def l2(fake: Tensor, real: Tensor) -> Tensor:
    """The mean of (fake - real)^2 over everything [N, C, H, W], a scalar."""
    return (wide(fake) - wide(real)).square().mean()


def foreground_weight(real: Tensor, background: float, floor: float) -> Tensor:
    """Weights of the pixels of images [N, C, H, W] in [-1, 1], [N, 1, H, W] with a mean of 1 in each image.

    A pixel's weight rises from `floor`, above 0, for one of the color `background` to 1 for one as far from it as a channel
    can be, before all are scaled to that mean. An image of background alone has weights of 1.
    """
    far = (wide(real) - background).abs().amax(dim=1, keepdim=True) / (1 + abs(background))
    weight = floor + (1 - floor) * far
    return weight / weight.mean(dim=(2, 3), keepdim=True)


def feature_matching(real: Features, fake: Features, layers: Literal["sum", "mean"] = "sum") -> Tensor:
    """A scalar: the mean over scales of the layers' mean differences; real features are taken as they are.

    `layers`: their sum (Park et al. 2019), or four times their mean (the weights 4 / (n_layers + 1) of Wang et al. 2018's code).
    At four layers that is the same.
    """
    scales = [_difference(r, f, layers) for r, f in zip(real, fake, strict=True)]
    return torch.stack(scales).mean()


def _difference(real: Sequence[Tensor], fake: Sequence[Tensor], layers: Literal["sum", "mean"]) -> Tensor:
    each = torch.stack([l1(f, r.detach()) for r, f in zip(real, fake, strict=True)])
    return each.sum() if layers == "sum" else 4 * each.mean()
