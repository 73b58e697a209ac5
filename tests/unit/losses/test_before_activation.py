"""What is compared of a pretrained network's layers before they are rectified."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.extractors import before_activation
from atelier.extractors.before_activation import BeforeActivation, load_before_activation
from atelier.extractors.errors import ExtractorError
from atelier.extractors.perceptual import Perception
from atelier.extractors.weights import Weights
from atelier.networks.vgg import convolutions


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


def test_relative_distances_weigh_channels_alike() -> None:
    perception, layers = network()
    with torch.no_grad():
        layers[2].weight.mul_(torch.tensor((100.0, 1.0))[:, None, None, None])
    images, targets = (torch.rand(2, 3, 9, 9) for _ in range(2))
    shares = []
    for a, b in zip(written_out(layers, images), written_out(layers, targets), strict=True):
        sizes = [b[:, c].abs().mean() for c in range(b.shape[1])]
        least = 0.05 * sum(sizes) / len(sizes)
        channels = [(a - b)[:, c].abs().mean() / max(size, least) for c, size in enumerate(sizes)]
        shares.append(sum(channels) / len(channels))
    expected = sum(shares) / len(shares)
    assert BeforeActivation(perception, relative=True).distance(images, targets).item() == pytest.approx(
        float(expected), rel=1e-5
    )


def test_hed_is_seen_before_two_of_its_rectifiers(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    own = {
        f"{name}.{part}": 0.05 * torch.randn(*((outer, inner, 3, 3) if part == "weight" else (outer,)))
        for name, (inner, outer) in convolutions("hed_vgg16").items()
        for part in ("weight", "bias")
    }
    monkeypatch.setattr(before_activation, "read_kept", lambda *_: Weights("here.safetensors", save(own), ""))
    images = torch.rand(1, 3, 18, 10) * 2 - 1
    x, expected = (images + 1) * 127.5 - torch.tensor((122.67892, 116.66877, 104.00699))[:, None, None], []
    for name in ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3"):
        if name in ("conv2_1", "conv3_1"):
            x = F.max_pool2d(x, 2, ceil_mode=True)
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), own[f"{name}.weight"], own[f"{name}.bias"])
        if name in ("conv2_2", "conv3_3"):
            expected.append(x)
        x = x.relu()
    found = load_before_activation("hed_vgg16", "restoration.perceptual_network")
    assert found.relative and not any(one.requires_grad for one in found.parameters())
    for one, other in zip(found(images), expected, strict=True):
        torch.testing.assert_close(one, other)


def test_weights_that_nobody_has_brought_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ExtractorError, match=r"run python -m atelier\.extractors\.hed, .* or choose another train\.x"):
        load_before_activation("hed_vgg16", "train.x")
