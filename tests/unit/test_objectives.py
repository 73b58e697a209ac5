"""Losses and penalties against numpy closed forms, gradients included, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from atelier.objectives import discriminator_loss, generator_loss, gradient_penalty, needs_real

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
    "relativistic": (
        -log_sigmoid(REAL - FAKE).mean(),
        -(1 - sigmoid(REAL - FAKE)) / N,
        (1 - sigmoid(REAL - FAKE)) / N,
        -log_sigmoid(FAKE - REAL).mean(),
        -(1 - sigmoid(FAKE - REAL)) / N,
    ),
}


def gradient(leaf: Tensor) -> np.ndarray:
    assert leaf.grad is not None
    return leaf.grad.numpy()


def leaf(values: np.ndarray) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("objective", CLOSED)
def test_losses_and_gradients(objective: str) -> None:
    d_value, d_by_real, d_by_fake, g_value, g_by_fake = CLOSED[objective]
    real, fake = leaf(REAL), leaf(FAKE)
    loss = discriminator_loss(objective, real, fake)
    loss.backward()
    assert loss.item() == pytest.approx(d_value, rel=1e-12)
    np.testing.assert_allclose(gradient(real), d_by_real, rtol=1e-10)
    np.testing.assert_allclose(gradient(fake), d_by_fake, rtol=1e-10)

    real, fake = leaf(REAL), leaf(FAKE)
    loss = generator_loss(objective, real if needs_real(objective) else None, fake)
    loss.backward()
    assert loss.item() == pytest.approx(g_value, rel=1e-12)
    np.testing.assert_allclose(gradient(fake), g_by_fake, rtol=1e-10)


@pytest.mark.parametrize("objective", CLOSED)
def test_extreme_logits_stay_finite(objective: str) -> None:
    real, fake = leaf(np.array([-1e4, 1e4])), leaf(np.array([1e4, -1e4]))
    (discriminator_loss(objective, real, fake) + generator_loss(objective, real, fake)).backward()
    assert real.grad is not None and torch.isfinite(real.grad).all()
    assert fake.grad is not None and torch.isfinite(fake.grad).all()


def test_equal_logits_are_the_equilibrium() -> None:
    """Where D cannot tell, minimax's value is -log 4 (Goodfellow et al. 2014, theorem 1); relativistic's loss is log 2."""
    same = torch.zeros(4, dtype=torch.float64)
    assert discriminator_loss("minimax", same, same).item() == pytest.approx(np.log(4))
    assert discriminator_loss("relativistic", same + 3, same + 3).item() == pytest.approx(np.log(2))


def test_which_objectives_need_real_images() -> None:
    assert [needs_real(name) for name in CLOSED] == [False, False, True]
    with pytest.raises(ValueError, match="real"):
        generator_loss("relativistic", None, leaf(FAKE))


def test_unknown_objective_is_named() -> None:
    for call in (
        lambda: discriminator_loss("hinge", leaf(REAL), leaf(FAKE)),
        lambda: generator_loss("hinge", None, leaf(FAKE)),
    ):
        with pytest.raises(ValueError, match="'hinge'"):
            call()


def test_penalty_of_a_linear_critic() -> None:
    """D(x) = a . x: the squared gradient norm is |a|^2 for every image."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, 4, 3))
    images = leaf(rng.normal(size=(5, 2, 4, 3)))
    penalty = gradient_penalty((images * torch.from_numpy(weight)).sum(dim=(1, 2, 3)), images)
    np.testing.assert_allclose(penalty.detach(), np.full(5, (weight**2).sum()), rtol=1e-12)


def test_penalty_of_a_quadratic_critic_and_its_gradients() -> None:
    """D(x) = x' A x / 2, A symmetric: the penalty is |A x|^2, by x 2 A A x, by A x' A' + A x x' (symmetrised by the critic)."""
    rng = np.random.default_rng(1)
    half = rng.normal(size=(6, 6))
    matrix, points = half + half.T, rng.normal(size=(3, 6))
    a, x = leaf(matrix), leaf(points)
    penalty = gradient_penalty(torch.einsum("ni,ij,nj->n", x, a, x) / 2, x)
    np.testing.assert_allclose(penalty.detach(), ((points @ matrix) ** 2).sum(axis=1), rtol=1e-12)
    by_x, by_a = torch.autograd.grad(penalty.sum(), [x, a])
    np.testing.assert_allclose(by_x, 2 * points @ matrix @ matrix, rtol=1e-10)
    # The gradient of D by x is (A + A') x / 2; hence by A: (g x' + x g'), with g = A x.
    pulls = points @ matrix
    np.testing.assert_allclose(by_a, pulls.T @ points + points.T @ pulls, rtol=1e-10)


def test_penalty_of_bfloat16_is_summed_in_float32() -> None:
    images = torch.full((2, 1, 32, 32), 1.0, dtype=torch.bfloat16, requires_grad=True)
    penalty = gradient_penalty(images.sum(dim=(1, 2, 3)), images)
    assert penalty.dtype == torch.float32
    assert penalty.tolist() == [1024.0, 1024.0]
