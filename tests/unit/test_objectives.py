"""Adversarial losses against numpy closed forms, gradients included, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from atelier.losses.adversarial import OBJECTIVES, Objective

REAL = np.array([-2.0, -0.3, 0.0, 1.7, 4.0])
FAKE = np.array([1.1, -0.4, 2.5, 0.0, -3.0])
N = len(REAL)


def sigmoid(t: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-t))


def log_sigmoid(t: np.ndarray) -> np.ndarray:
    return np.log(sigmoid(t))


# objective: D's loss, its gradient by the real logits, by the fake ones; G's loss and its gradient by the fake logits.
# d/dt log s(t) = 1 - s(t) = s(-t);  d/dt log(1 - s(t)) = -s(t).
CLOSED = {
    "minimax": (
        -(log_sigmoid(REAL) + np.log(1 - sigmoid(FAKE))).mean(),
        -(1 - sigmoid(REAL)) / N,
        sigmoid(FAKE) / N,
        np.log(1 - sigmoid(FAKE)).mean(),
        -sigmoid(FAKE) / N,
    ),
    "nonsaturating": (
        -(log_sigmoid(REAL) + np.log(1 - sigmoid(FAKE))).mean(),
        -(1 - sigmoid(REAL)) / N,
        sigmoid(FAKE) / N,
        -log_sigmoid(FAKE).mean(),
        -(1 - sigmoid(FAKE)) / N,
    ),
    "least_squares": (
        ((REAL - 1) ** 2 + (FAKE + 1) ** 2).mean() / 2,
        (REAL - 1) / N,
        (FAKE + 1) / N,
        ((FAKE - 1) ** 2).mean() / 2,
        (FAKE - 1) / N,
    ),
    "least_squares_binary": (
        ((REAL - 1) ** 2 + FAKE**2).mean() / 2,
        (REAL - 1) / N,
        FAKE / N,
        ((FAKE - 1) ** 2).mean(),
        2 * (FAKE - 1) / N,
    ),
    "hinge": (
        (np.where(REAL < 1, 1 - REAL, 0) + np.where(FAKE > -1, 1 + FAKE, 0)).mean(),
        np.where(REAL < 1, -1 / N, 0),
        np.where(FAKE > -1, 1 / N, 0),
        -FAKE.mean(),
        np.full(N, -1 / N),
    ),
    "wasserstein": (
        FAKE.mean() - REAL.mean(),
        np.full(N, -1 / N),
        np.full(N, 1 / N),
        -FAKE.mean(),
        np.full(N, -1 / N),
    ),
    "relativistic": (
        -log_sigmoid(REAL - FAKE).mean(),
        -(1 - sigmoid(REAL - FAKE)) / N,
        (1 - sigmoid(REAL - FAKE)) / N,
        -log_sigmoid(FAKE - REAL).mean(),
        -(1 - sigmoid(FAKE - REAL)) / N,
    ),
    "relativistic_average": (
        -log_sigmoid(REAL - FAKE.mean()).mean() - np.log(1 - sigmoid(FAKE - REAL.mean())).mean(),
        -(1 - sigmoid(REAL - FAKE.mean())) / N - sigmoid(FAKE - REAL.mean()).mean() / N,
        sigmoid(FAKE - REAL.mean()) / N + (1 - sigmoid(REAL - FAKE.mean())).mean() / N,
        -log_sigmoid(FAKE - REAL.mean()).mean() - np.log(1 - sigmoid(REAL - FAKE.mean())).mean(),
        -(1 - sigmoid(FAKE - REAL.mean())) / N - sigmoid(REAL - FAKE.mean()).mean() / N,
    ),
}


def gradient(leaf: Tensor) -> np.ndarray:
    assert leaf.grad is not None
    return leaf.grad.numpy()


def leaf(values: np.ndarray) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_and_gradients(name: str) -> None:
    d_value, d_by_real, d_by_fake, g_value, g_by_fake = CLOSED[name]
    real, fake = leaf(REAL), leaf(FAKE)
    loss = OBJECTIVES[name].discriminator(real, fake)
    loss.backward()
    assert loss.item() == pytest.approx(d_value, rel=1e-12)
    np.testing.assert_allclose(gradient(real), d_by_real, rtol=1e-10)
    np.testing.assert_allclose(gradient(fake), d_by_fake, rtol=1e-10)

    real, fake = leaf(REAL), leaf(FAKE)
    loss = OBJECTIVES[name].generator(real if OBJECTIVES[name].compares else None, fake)
    loss.backward()
    assert loss.item() == pytest.approx(g_value, rel=1e-12)
    np.testing.assert_allclose(gradient(fake), g_by_fake, rtol=1e-10)


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_extreme_logits_stay_finite(objective: Objective) -> None:
    real, fake = leaf(np.array([-1e4, 1e4])), leaf(np.array([1e4, -1e4]))
    (objective.discriminator(real, fake) + objective.generator(real, fake)).backward()
    assert real.grad is not None and torch.isfinite(real.grad).all()
    assert fake.grad is not None and torch.isfinite(fake.grad).all()


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_several_scales_weigh_alike(objective: Objective) -> None:
    """Logits [N, scales]: the mean of the losses at each scale, pairs by image and scale."""
    real, fake = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    for loss in (objective.discriminator, objective.generator):
        alone = [loss(r, f).item() for r, f in zip(real.unbind(1), fake.unbind(1), strict=True)]
        assert loss(real, fake).item() == pytest.approx(np.mean(alone), rel=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_which_do_not_feel_a_shift(objective: Objective) -> None:
    real, fake = leaf(REAL), leaf(FAKE)
    moved = objective.discriminator(real + 2, fake + 2).item() == pytest.approx(objective.discriminator(real, fake).item())
    assert moved == objective.shift_invariant


def test_equal_logits_are_the_equilibrium() -> None:
    """Where D cannot tell, minimax's value is -log 4 (Goodfellow et al. 2014, theorem 1); relativistic's loss is log 2."""
    same = torch.zeros(4, dtype=torch.float64)
    assert OBJECTIVES["minimax"].discriminator(same, same).item() == pytest.approx(np.log(4))
    assert OBJECTIVES["relativistic"].discriminator(same + 3, same + 3).item() == pytest.approx(np.log(2))
    assert OBJECTIVES["relativistic_average"].discriminator(same + 3, same + 3).item() == pytest.approx(2 * np.log(2))


def test_which_objectives_need_real_images() -> None:
    assert [name for name, objective in OBJECTIVES.items() if objective.compares] == ["relativistic", "relativistic_average"]
    for name in ("relativistic", "relativistic_average"):
        with pytest.raises(ValueError, match="real"):
            OBJECTIVES[name].generator(None, leaf(FAKE))
