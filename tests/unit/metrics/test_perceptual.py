"""The perceptual loss: what its networks see, against the networks themselves, and its two distances written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import vgg16

from atelier.extractors import ExtractorError, perceptual
from atelier.extractors.lite0 import lite0_network
from atelier.extractors.perceptual import Perception, distance, load_perception, mean_difference


@pytest.fixture(scope="module")
def lite0() -> Perception:
    return load_perception("efficientnet_lite0", "packaged", "--network")


@pytest.fixture(scope="module")
def vgg_weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """torchvision's network with weights of this test, and a file of them without the classifier, which nobody needs here."""
    torch.manual_seed(0)
    network = vgg16(weights=None, init_weights=False).eval()
    for parameter in network.features.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
    path = tmp_path_factory.mktemp("vgg") / "vgg16.safetensors"
    save_file({key: value for key, value in network.state_dict().items() if key.startswith("features.")}, path)
    return network, path


def unit(x: Tensor) -> np.ndarray:
    return (x / x.square().sum(dim=1, keepdim=True).sqrt().clamp_min(1e-12)).detach().numpy()


def test_lite0_sees_with_the_stages_of_the_packaged_network(lite0: Perception) -> None:
    images = torch.rand(2, 3, 28, 28) * 2 - 1
    seen = lite0(images)
    network = lite0_network()
    x = F.interpolate(images, (112, 112), mode="bicubic", antialias=True)
    x = network.get_submodule("bn1")(network.get_submodule("conv_stem")(x))
    for layer, stage in zip(seen, list(network.get_submodule("blocks").children())[:5], strict=True):
        x = stage(x)
        np.testing.assert_allclose(layer, unit(x), atol=1e-5)
    assert [tuple(layer.shape[2:]) for layer in seen] == [(56, 56), (28, 28), (14, 14), (7, 7), (7, 7)]


def test_vgg16_sees_with_the_layers_before_each_pooling(vgg_weights: tuple[nn.Module, Path]) -> None:
    network, path = vgg_weights
    perceive = load_perception("vgg16", str(path), "--network")
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    seen = perceive(images)
    x = ((images + 1) / 2 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    expected = []
    for layer in network.get_submodule("features"):  # type: ignore[attr-defined]
        if isinstance(layer, nn.MaxPool2d):
            expected.append(unit(x))
        x = layer(x.clone())
    for layer, wanted in zip(seen, expected, strict=True):
        np.testing.assert_allclose(layer, wanted, atol=1e-4)
    assert len(perceive(torch.zeros(1, 1, 28, 28))) == 5  # small gray images are enlarged


def test_gradients_reach_the_images_and_no_weight(lite0: Perception) -> None:
    images = (torch.rand(2, 1, 28, 28) * 2 - 1).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        seen = lite0(images)
        value = distance(seen, [layer.detach().flip(0) for layer in seen]).sum()
    value.backward()
    assert images.grad is not None and images.grad.abs().sum() > 0 and value.dtype == torch.float32
    assert all(parameter.grad is None for parameter in lite0.parameters())


def test_distances_written_out() -> None:
    rng = np.random.default_rng(0)
    shapes = [(3, 4, 5, 5), (3, 2, 2, 2)]
    one, other = ([rng.normal(size=shape) for shape in shapes] for _ in range(2))
    each = np.mean(
        [[(np.square(a[i] - b[i]).sum(axis=0)).mean() for i in range(3)] for a, b in zip(one, other, strict=True)], axis=0
    )
    of_means = np.mean([np.square(a.mean(axis=0) - b.mean(axis=0)).sum(axis=0).mean() for a, b in zip(one, other, strict=True)])
    tensors = [[torch.from_numpy(layer) for layer in layers] for layers in (one, other)]
    np.testing.assert_allclose(distance(*tensors), each, rtol=1e-12)
    np.testing.assert_allclose(mean_difference(*tensors), of_means, rtol=1e-12)
    assert not distance(tensors[0], tensors[0]).any()


def test_wrong_weights_are_refused(vgg_weights: tuple[nn.Module, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for network, weights in (("efficientnet_lite0", "published"), ("vgg16", "packaged"), ("alexnet", "published")):
        with pytest.raises(ExtractorError, match=r"--network: .* choose efficientnet_lite0 with packaged, or vgg16"):
            load_perception(network, weights, "--network")
    with pytest.raises(ExtractorError, match=r"nowhere\.pth: weights cannot be read .* correct train\.perceptual_weights"):
        load_perception("vgg16", str(tmp_path / "nowhere.pth"), "train.perceptual_weights")
    save_file({"features.0.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ExtractorError, match="not the weights of torchvision's vgg16"):
        load_perception("vgg16", str(tmp_path / "other.safetensors"), "--network")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(perceptual, "VGG16_URL", "http://127.0.0.1:9/vgg16-397923af.pth")
    with pytest.raises(ExtractorError, match="cannot be reached"):
        load_perception("vgg16", "published", "--network")
