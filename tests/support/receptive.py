"""How far a logit of a discriminator of patches sees."""

from __future__ import annotations

import torch
from torch import nn

from atelier.networks.base import PatchDiscriminator


def receptive_fields(discriminator: PatchDiscriminator) -> list[int]:
    """Rows and columns of one gray image of 128 px that the middle logit depends on, by gradient; its weights become 0.1."""
    discriminator.double()
    for parameter in discriminator.parameters():
        nn.init.constant_(parameter, 0.1)
    image = torch.ones(1, 1, 128, 128, dtype=torch.float64, requires_grad=True)
    (logits,) = discriminator(image).logits
    middle = logits.shape[2] // 2
    (slope,) = torch.autograd.grad(logits[0, 0, middle, middle], image)
    reached = (slope[0, 0].abs().sum(dim=axis).nonzero() for axis in (0, 1))
    return [int(places[-1] - places[0]) + 1 for places in reached]
