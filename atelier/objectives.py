"""Adversarial losses and gradient penalties. D(x) is a logit, positive for real; softplus(t) = log(1 + exp t).

minimax        Goodfellow et al. 2014, equation 1:  min_G max_D  E[log s(D(x))] + E[log(1 - s(D(G(z))))], s the sigmoid
nonsaturating  the same D; G maximises E[log s(D(G(z)))] instead (Goodfellow et al. 2014, section 3)
relativistic   Jolicoeur-Martineau 2019, RpGAN; Huang et al. 2024, equation 2:  f(D(G(z)) - D(x)) on pairs, f = softplus
R1, R2         Mescheder et al. 2018, equations 9 and 10:  gamma/2 E[|grad D|^2] on real (R1) or on generated images (R2)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus


def discriminator_loss(objective: str, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """What D minimises, as a scalar; logits [N] (paired by position for relativistic). Raises ValueError."""
    if objective in ("minimax", "nonsaturating"):
        return softplus(-real_logits).mean() + softplus(fake_logits).mean()
    if objective == "relativistic":
        return softplus(fake_logits - real_logits).mean()
    raise ValueError(f"objective {objective!r} is unknown; choose minimax, nonsaturating or relativistic")


def generator_loss(objective: str, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
    """What G minimises, as a scalar; logits [N], real ones only where `needs_real`. Raises ValueError."""
    if objective == "minimax":
        return -softplus(fake_logits).mean()
    if objective == "nonsaturating":
        return softplus(-fake_logits).mean()
    if objective == "relativistic":
        if real_logits is None:
            raise ValueError("the relativistic objective compares with real images; pass their logits")
        return softplus(real_logits - fake_logits).mean()
    raise ValueError(f"objective {objective!r} is unknown; choose minimax, nonsaturating or relativistic")


def needs_real(objective: str) -> bool:
    """Whether G's loss reads D's logits on real images."""
    return objective == "relativistic"


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """|d logits_i / d images_i|^2 for each image, float32 or wider [N]; differentiable (keeps the graph).

    `images` [N, ...] must require gradients and `logits` [N] come from them, each from its own image alone.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    gradient = gradient.flatten(1)
    if gradient.dtype in (torch.float16, torch.bfloat16):
        gradient = gradient.float()
    return gradient.square().sum(dim=1)
