"""The equalized learning rate, pixel norm and the minibatch's deviation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from atelier.networks.equalized import MinibatchStd, equalized, pixel_norm
from atelier.networks.layers import NetworkError


@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_adam_moves_layers_of_all_widths_alike(rate: float) -> None:
    """A step of Adam moves what is kept by its rate, and what the layer sees by that times the scale, whatever the gradient."""
    torch.manual_seed(0)
    for inner in (8, 512):
        layer = equalized(nn.Linear(inner, 64), gain=1.5, rate=rate)
        before, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
        assert before.std().item() == pytest.approx(1.5 / np.sqrt(inner), rel=0.1) and not bias.any()
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
        layer(torch.randn(4, inner)).square().sum().backward()
        optimizer.step()
        moved = (layer.weight - before).abs().median().item()
        assert moved == pytest.approx(0.1 * rate * 1.5 / np.sqrt(inner), rel=1e-3)
        assert (layer.bias - bias).abs().median().item() == pytest.approx(0.1 * rate, rel=1e-3)


def test_pixel_norm() -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 3, 3))
    expected = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-8)
    np.testing.assert_allclose(pixel_norm(torch.from_numpy(x)), expected, rtol=1e-12)


def test_deviation_of_each_group_of_neighbors() -> None:
    x = np.random.default_rng(1).normal(size=(6, 4, 3, 3))
    found = MinibatchStd(3)(torch.from_numpy(x)).numpy()
    assert found.shape == (6, 5, 3, 3) and np.array_equal(found[:, :4], x)
    for first in (0, 3):
        deviation = np.sqrt(x[first : first + 3].var(axis=0) + 1e-8).mean()
        np.testing.assert_allclose(found[first : first + 3, 4], deviation, rtol=1e-12)
    parts = [MinibatchStd(3)(torch.from_numpy(x[rows])).numpy() for rows in (slice(0, 3), slice(3, 6))]
    assert np.array_equal(np.concatenate(parts), found)  # as two ranks, or two micro-batches, see them


def test_equal_images_have_a_gradient() -> None:
    x = torch.ones(4, 2, 2, 2, requires_grad=True)
    (first,) = torch.autograd.grad(MinibatchStd(4)(x)[:, 2].sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    assert torch.isfinite(first).all() and torch.isfinite(second).all()


def test_groups_that_are_not_whole_are_refused() -> None:
    with pytest.raises(NetworkError, match="5 images cannot be compared in groups of 4"):
        MinibatchStd(4)(torch.zeros(5, 1, 2, 2))
