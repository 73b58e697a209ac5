"""What is compared of a pretrained network's layers before they are rectified."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from atelier.extractors.before_activation import BeforeActivation
from atelier.extractors.perceptual import Perception


def network() -> tuple[Perception, list[nn.Conv2d]]:
    """Two layers of which a rectifier is the last, and one that nothing rectifies; inputs are doubled."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(inner, outer, 3) for inner, outer in ((3, 4), (4, 5), (5, 2))]
    parts = [nn.Sequential(layers[0], nn.ReLU()), nn.Sequential(layers[1], nn.ReLU()), nn.Sequential(layers[2])]
    return Perception(nn.ModuleList(parts), lambda images: 2 * images), layers


def written_out(layers: list[nn.Conv2d], images: Tensor) -> list[Tensor]:
    first = layers[0](2 * images)
    second = layers[1](first.clamp(min=0))
    return [first, second, layers[2](second.clamp(min=0))]


def test_layers_are_seen_before_their_rectifiers_and_fed_after_them() -> None:
    perception, layers = network()
    images = torch.rand(2, 1, 9, 9) * 2 - 1
    found, expected = BeforeActivation(perception)(images), written_out(layers, images.expand(-1, 3, -1, -1))
    assert (found[0] < 0).any()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_the_distance_is_the_mean_of_layers_and_targets_take_no_gradients() -> None:
    perception, layers = network()
    images, targets = (torch.rand(2, 3, 9, 9, requires_grad=True) for _ in range(2))
    distance = BeforeActivation(perception).distance(images, targets)
    apart = [(a - b).abs().mean() for a, b in zip(written_out(layers, images), written_out(layers, targets), strict=True)]
    assert distance.item() == pytest.approx(torch.stack(apart).mean().item(), rel=1e-5)
    distance.backward()
    assert images.grad is not None and images.grad.any() and targets.grad is None
