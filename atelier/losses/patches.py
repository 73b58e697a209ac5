"""Objectives of discriminators that judge patches at several scales (Isola et al. 2017, section 3.2.2; Wang et al. 2018, eq. 2).

Logits are a sequence, [N, 1, h, w] a scale. Each scale's loss is the mean over images and places, and scales weigh alike, however
many places they have: the mean over scales, as in Park et al. 2019, where Wang et al. sum them.

CycleGAN, pix2pixHD and CUT have least_squares_binary. At logits 2 t - 1 for its t the generator's loss in least_squares is twice
that, so that their weights of other losses would have to be doubled beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from atelier.losses.adversarial import Objective
from atelier.networks.layers import wide


def discriminator_loss(objective: Objective, real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """The discriminator's loss, a scalar."""
    return torch.stack([objective.discriminator(wide(r), wide(f)) for r, f in zip(real, fake, strict=True)]).mean()


def generator_loss(objective: Objective, real: Sequence[Tensor] | None, fake: Sequence[Tensor]) -> Tensor:
    """The generator's loss, a scalar; `real` may be None where the objective does not compare."""
    pairs = zip([None] * len(fake) if real is None else real, fake, strict=True)
    return torch.stack([objective.generator(None if r is None else wide(r), wide(f)) for r, f in pairs]).mean()


def image_logits(scales: Sequence[Tensor]) -> Tensor:
    """One logit an image [N]: the mean over places, then over scales."""
    return torch.stack([wide(logits).flatten(1).mean(dim=1) for logits in scales]).mean(dim=0)
