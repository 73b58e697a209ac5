"""Losses of style transfer, of what layers of a pretrained network see, [N, C, H, W] each.

gram              Gatys et al. 2016, eq. 3, divided by C H W as in Johnson et al. 2016, eq. 3: G = F F^T / (C H W)
gram_loss         Gatys et al. 2016, eq. 4-5; Johnson et al. 2016, eq. 4: |G(x) - G(s)|^2
content_loss      Gatys et al. 2016, eq. 1: |F(x) - F(c)|^2
moment_loss       Huang and Belongie 2017, eq. 13: |mean(x) - mean(s)|^2 + |deviation(x) - deviation(s)|^2, of channels
total_variation   Johnson et al. 2016, section 3.2: how much neighbors differ

Each is divided by the same measure of its target, |G(s)|^2, |F(c)|^2 or |mean(s)|^2 + |deviation(s)|^2: it is 1 for a picture
without features and 0 for one that has its target's, whatever the network, the layer and the scale of its weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atelier.networks.layers import wide
from atelier.networks.moments import moments

TINY = 1e-12  # below any sum of squares that features have


def gram(features: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, C]: how much channels occur together, the mean over positions, divided by C."""
    channels, places = features.shape[1], features.shape[2] * features.shape[3]
    flat = wide(features).flatten(2)
    return flat @ flat.transpose(1, 2) / (channels * places)


def gram_loss(grams: Tensor, targets: Tensor) -> Tensor:
    """Of [N, C, C] and [N or 1, C, C], [N]: 0 where they are equal, 1 where the first is 0."""
    return _relative(grams, targets)


def content_loss(features: Tensor, targets: Tensor) -> Tensor:
    """Of features [N, C, H, W] each, [N]: 0 where they are equal, 1 where the first are 0."""
    return _relative(wide(features), wide(targets))


def moment_loss(features: Tensor, targets: Tensor) -> Tensor:
    """Of features [N, C, H, W] and [N, C, h, w], [N]: 0 where means and deviations are equal."""
    own, wanted = (torch.cat(moments(part), dim=1) for part in (features, targets))
    return _relative(own, wanted)


def total_variation(images: Tensor) -> Tensor:
    """Of images [N, C, H, W], [N]: the mean of the squared differences of neighbors, in both directions."""
    x = wide(images)
    down, right = x[:, :, 1:] - x[:, :, :-1], x[:, :, :, 1:] - x[:, :, :, :-1]
    return down.square().mean(dim=(1, 2, 3)) + right.square().mean(dim=(1, 2, 3))


def _relative(values: Tensor, targets: Tensor) -> Tensor:
    """[N]: the sum of squared differences, over that of the targets' squares."""
    difference = (values - targets).flatten(1).square().sum(dim=1)
    return difference / targets.flatten(1).square().sum(dim=1).clamp_min(TINY)
