"""Adversarial losses. D(x) is a logit, positive for real; softplus(t) = log(1 + exp t), s(t) = 1 / (1 + exp -t).

               D minimizes                                     G minimizes                    Source
minimax        -E[log s(D(x))] - E[log(1 - s(D(G(z))))]        E[log(1 - s(D(G(z))))]         Goodfellow et al. 2014, eq. 1
nonsaturating  the same                                        -E[log s(D(G(z)))]             the same, section 3
least_squares  E[(D(x) - 1)^2] / 2 + E[(D(G(z)) + 1)^2] / 2    E[(D(G(z)) - 1)^2] / 2         Mao et al. 2017, eq. 2 (a = -1)
  _binary      E[(D(x) - 1)^2] / 2 + E[D(G(z))^2] / 2          E[(D(G(z)) - 1)^2]             the same, eq. 9 (Zhu et al. 2017)
hinge          E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))]    -E[D(G(z))]                    Miyato et al. 2018, eq. 16, 17
wasserstein    E[D(G(z))] - E[D(x)]                            -E[D(G(z))]                    Arjovsky et al. 2017, eq. 2
relativistic   E[softplus(D(G(z)) - D(x))], in pairs           E[softplus(D(x) - D(G(z)))]    Huang et al. 2024, eq. 2
  _average     E[softplus(m(G) - D(x))]                        E[softplus(D(x) - m(G))]       Wang et al. 2018 (ESRGAN),
               + E[softplus(D(G(z)) - m(x))]                   + E[softplus(m(x) - D(G(z)))]  eq. 1, 2

m(x) = E[D(x)] and m(G) = E[D(G(z))] are means over the micro-batch of all ranks, and the gradients go through them.
The Wasserstein critic has to be held Lipschitz by something else: clipping, a gradient penalty or spectral norm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import relu, softplus

from atelier.networks.layers import sum_of_ranks


@dataclass(frozen=True)
class Objective:
    """The losses of both networks: discriminator(real, fake), generator(real, fake).

    They are scalars of logits [N], [N, scales] or, of patches, [N, 1, h, w]. `compares`: the generator's loss reads the logits of
    real images; where it does not, they may be None.
    `shift_invariant`: adding a constant to all logits changes nothing, so that none is a border between real and fake; else
    `border` is.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor | None, Tensor], Tensor]
    compares: bool = False
    shift_invariant: bool = False
    border: float = 0.0


def logistic(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss in minimax and nonsaturating: the cross-entropy of its sigmoid."""
    return softplus(-real).mean() + softplus(fake).mean()


def relativistic_generator(real: Tensor | None, fake: Tensor) -> Tensor:
    """The generator's loss in relativistic. Raises ValueError without real logits."""
    if real is None:
        raise ValueError("the relativistic objective compares with real images; pass their logits")
    return softplus(real - fake).mean()


def relativistic_average(above: Tensor, below: Tensor) -> Tensor:
    """How far the logits `above` are from lying above the mean of `below`, and those below from lying under that of `above`."""
    return softplus(_mean(below) - above).mean() + softplus(below - _mean(above)).mean()


def relativistic_average_generator(real: Tensor | None, fake: Tensor) -> Tensor:
    """The generator's loss in relativistic_average. Raises ValueError without real logits."""
    if real is None:
        raise ValueError("the relativistic objective compares with real images; pass their logits")
    return relativistic_average(fake, real)


def _mean(logits: Tensor) -> Tensor:
    """The mean over images and places of all ranks, [1] or [1, scales], [1, 1, 1, 1] of patches."""
    own = logits.mean(dim=[axis for axis in range(logits.ndim) if axis != 1], keepdim=True)
    return sum_of_ranks(own) / dist.get_world_size() if dist.is_initialized() else own


OBJECTIVES = {
    "minimax": Objective(logistic, lambda _, fake: -softplus(fake).mean()),
    "nonsaturating": Objective(logistic, lambda _, fake: softplus(-fake).mean()),
    "least_squares": Objective(
        lambda real, fake: ((real - 1).square().mean() + (fake + 1).square().mean()) / 2,
        lambda _, fake: (fake - 1).square().mean() / 2,
    ),
    "least_squares_binary": Objective(
        lambda real, fake: ((real - 1).square().mean() + fake.square().mean()) / 2,
        lambda _, fake: (fake - 1).square().mean(),
        border=0.5,
    ),
    "hinge": Objective(
        lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(),
        lambda _, fake: -fake.mean(),
    ),
    "wasserstein": Objective(
        lambda real, fake: fake.mean() - real.mean(),
        lambda _, fake: -fake.mean(),
        shift_invariant=True,
    ),
    "relativistic": Objective(
        lambda real, fake: softplus(fake - real).mean(),
        relativistic_generator,
        compares=True,
        shift_invariant=True,
    ),
    "relativistic_average": Objective(
        relativistic_average,
        relativistic_average_generator,
        compares=True,
        shift_invariant=True,
    ),
}
