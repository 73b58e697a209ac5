"""Adversarial losses. D(x) is a logit, positive for real; softplus(t) = log(1 + exp t), s(t) = 1 / (1 + exp -t).

               D minimizes                                     G minimizes                    Source
minimax        -E[log s(D(x))] - E[log(1 - s(D(G(z))))]        E[log(1 - s(D(G(z))))]         Goodfellow et al. 2014, eq. 1
nonsaturating  the same                                        -E[log s(D(G(z)))]             the same, section 3
least_squares  E[(D(x) - 1)^2] / 2 + E[(D(G(z)) + 1)^2] / 2    E[(D(G(z)) - 1)^2] / 2         Mao et al. 2017, eq. 2 (a = -1)
  _binary      E[(D(x) - 1)^2] / 2 + E[D(G(z))^2] / 2          E[(D(G(z)) - 1)^2]             the same, eq. 9 (Zhu et al. 2017)
hinge          E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))]    -E[D(G(z))]                    Miyato et al. 2018, eq. 16, 17
wasserstein    E[D(G(z))] - E[D(x)]                            -E[D(G(z))]                    Arjovsky et al. 2017, eq. 2
relativistic   E[softplus(D(G(z)) - D(x))], in pairs           E[softplus(D(x) - D(G(z)))]    Huang et al. 2024, eq. 2

The Wasserstein critic has to be held Lipschitz by something else: clipping, a gradient penalty or spectral norm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu, softplus


@dataclass(frozen=True)
class Objective:
    """The losses of both networks, scalars of logits [N] or [N, scales]: discriminator(real, fake), generator(real, fake).

    `compares`: the generator's loss reads the logits of real images, paired by position; where it does not, they may be None.
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
}
