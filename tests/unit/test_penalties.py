"""Penalties against closed forms and independent computations, gradients included, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from atelier.losses import penalties
from atelier.losses.penalties import gradient_penalty


def leaf(values: np.ndarray) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_penalty_of_a_linear_discriminator() -> None:
    """D(x) = a . x: the squared gradient norm is |a|^2 for every image."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, 4, 3))
    images = leaf(rng.normal(size=(5, 2, 4, 3)))
    penalty = gradient_penalty((images * torch.from_numpy(weight)).sum(dim=(1, 2, 3)), images)
    np.testing.assert_allclose(penalty.detach(), np.full(5, (weight**2).sum()), rtol=1e-12)


def test_difference_penalty_of_a_linear_discriminator() -> None:
    """The squares of the slopes along each axis add up to that of the gradient, however long the step is."""
    weight, axes = np.random.default_rng(0).normal(size=6), np.eye(6)
    found = penalties.difference_penalty(torch.zeros(6), torch.from_numpy(0.3 * axes @ weight), 0.3)
    np.testing.assert_allclose(found.sum(), (weight**2).sum(), rtol=1e-12)


def test_penalty_of_a_quadratic_discriminator_and_its_gradients() -> None:
    """D(x) = x' A x / 2, A symmetric: the penalty is |A x|^2, by x 2 A A x, by A x' A' + A x x' (symmetrized by D)."""
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


def test_lipschitz_penalty_of_a_quadratic_discriminator() -> None:
    """D(x) = |x|^2 / 2 has the slope x: (|x| - 1)^2 a point, by x 2 (|x| - 1) x / |x|."""
    points = np.random.default_rng(2).normal(size=(4, 3, 2, 2))
    x = leaf(points)
    penalty = penalties.lipschitz_penalty(x.square().sum(dim=(1, 2, 3)) / 2, x)
    norms = np.sqrt((points**2).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(penalty.detach(), (norms - 1) ** 2, rtol=1e-10)
    (by_x,) = torch.autograd.grad(penalty.sum(), x)
    np.testing.assert_allclose(by_x, (2 * (norms - 1) / norms)[:, None, None, None] * points, rtol=1e-10)


def test_lipschitz_penalty_is_differentiable_where_the_discriminator_is_flat() -> None:
    x = torch.zeros(2, 1, 2, 2, requires_grad=True)
    penalty = penalties.lipschitz_penalty(x.square().sum(dim=(1, 2, 3)), x)
    assert penalty.tolist() == [1.0, 1.0]
    (by_x,) = torch.autograd.grad(penalty.sum(), x)
    assert torch.isfinite(by_x).all()


def test_points_between_and_near() -> None:
    rng = np.random.default_rng(3)
    real, fake, noise = rng.normal(size=(3, 2, 1, 4, 4))
    share = np.array([0.0, 0.25])
    scaled = share[:, None, None, None]
    found = penalties.between(torch.from_numpy(real), torch.from_numpy(fake), torch.from_numpy(share))
    np.testing.assert_allclose(found, scaled * real + (1 - scaled) * fake, rtol=1e-12)
    found = penalties.near(torch.from_numpy(real), torch.from_numpy(noise), torch.from_numpy(share))
    std = real.std(axis=(1, 2, 3), ddof=1, keepdims=True)
    np.testing.assert_allclose(found, real + (1 - scaled) * std / 2 * noise, rtol=1e-12)


def test_lecam() -> None:
    real, fake = np.array([1.0, 3.0]), np.array([-2.0, 0.5])
    by_hand = ((real + 0.4) ** 2).mean() + ((fake - 1.5) ** 2).mean()
    x, y = leaf(real), leaf(fake)
    value = penalties.lecam(x, y, real_mean=1.5, fake_mean=-0.4)
    assert value.item() == pytest.approx(by_hand, rel=1e-12)
    by_real, by_fake = torch.autograd.grad(value, [x, y])
    np.testing.assert_allclose(by_real, real + 0.4, rtol=1e-12)
    np.testing.assert_allclose(by_fake, fake - 1.5, rtol=1e-12)


def test_path_lengths_equal_the_whole_jacobian() -> None:
    """Against J^T y with the Jacobian itself, image by image; and its derivative against a finite difference."""
    torch.manual_seed(0)
    layer = nn.Linear(2 * 3, 1 * 4 * 4).double()
    code, noise = torch.randn(3, 2, 3, dtype=torch.float64), torch.randn(3, 1, 4, 4, dtype=torch.float64)

    def generate(one: Tensor) -> Tensor:
        return layer(one.flatten(1)).tanh().view(-1, 1, 4, 4)

    def lengths() -> Tensor:
        leaf = code.clone().requires_grad_()
        return penalties.path_lengths(generate(leaf), leaf, noise)

    for index, found in enumerate(lengths()):
        jacobian = torch.autograd.functional.jacobian(lambda one: generate(one[None])[0], code[index])  # [1, 4, 4, 2, 3]
        pulled = torch.einsum("chw,chwpd->pd", noise[index], jacobian) / 4
        assert found.item() == pytest.approx(pulled.square().sum(dim=1).mean().sqrt().item(), rel=1e-6)
    (by_weight,) = torch.autograd.grad(lengths().sum(), layer.weight)
    step = 1e-6
    with torch.no_grad():
        layer.weight[5, 2] += step
    above = lengths().sum().item()
    with torch.no_grad():
        layer.weight[5, 2] -= 2 * step
    assert (above - lengths().sum().item()) / (2 * step) == pytest.approx(by_weight[5, 2].item(), rel=1e-5)


def test_orthogonal_counts_what_rows_share() -> None:
    """Rows at right angles cost nothing, whatever their length; convolutions are matrices; embeddings and biases are left out."""
    linear, convolution = nn.Linear(2, 2), nn.Conv2d(1, 2, 2)
    network = nn.ModuleList([linear, nn.Embedding(3, 2), convolution]).double()
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.2]]))
        convolution.weight.copy_(torch.tensor([[[[1.0, 0.0], [2.0, 0.0]]], [[[0.0, 1.0], [0.0, 2.0]]]]))
    assert penalties.orthogonal(network).item() == 0
    rng = np.random.default_rng(4)
    matrix, filters = rng.normal(size=(2, 2)), rng.normal(size=(2, 1, 2, 2))
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(matrix))
        convolution.weight.copy_(torch.from_numpy(filters))
    value = penalties.orthogonal(network)
    products = [(matrix @ matrix.T)[0, 1], (filters[0] * filters[1]).sum()]
    assert value.item() == pytest.approx(2 * sum(p**2 for p in products), rel=1e-10)
    (by_matrix,) = torch.autograd.grad(value, linear.weight)
    np.testing.assert_allclose(by_matrix, 4 * products[0] * matrix[::-1], rtol=1e-10)


def test_orthogonal_of_more_rows_than_columns() -> None:
    """Which is computed from the smaller of the two products, against the larger; with gradients 4 (W W^T (1 - I)) W."""
    layer = nn.Linear(3, 7, bias=False).double()
    matrix = layer.weight.detach().numpy()
    products = matrix @ matrix.T
    products -= np.diag(np.diag(products))
    value = penalties.orthogonal(layer)
    assert value.item() == pytest.approx((products**2).sum(), rel=1e-12)
    (gradient,) = torch.autograd.grad(value, layer.weight)
    np.testing.assert_allclose(gradient, 4 * products @ matrix, rtol=1e-10)
