"""Perceptual distances of pairs: LPIPS against the package of its authors, the packaged network's against its definition."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import lpips as published
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from atelier.config.metrics import Need
from atelier.data.packed import PackedDataset
from atelier.extractors import ExtractorError
from atelier.extractors.perceptual import distance, load_perception
from atelier.io.files import sha256_file
from atelier.metrics import perceptual
from atelier.metrics.evaluator import Evaluator
from atelier.metrics.perceptual import ALEXNET_SHA256, HEADS_SHA256, Lpips, load_lpips, lpips, of_pairs
from atelier.tasks.sampling import Sample
from tests.support.evaluations import Measured


@pytest.fixture(scope="module")
def peer() -> Iterator[nn.Module]:
    """The authors' network: real heads on a random trunk, since the trunk's weights are not in the package."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision has other names for what it asks for
        network = published.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    yield network


@pytest.fixture(scope="module")
def ours(peer: nn.Module) -> Lpips:
    """Its tensors in ours, by their place in torchvision's network."""
    state = peer.state_dict()
    trunk = {f"features.{key.split('.', 2)[2]}": value for key, value in state.items() if key.startswith("net.slice")}
    return lpips(trunk, {key: value for key, value in state.items() if key.startswith("lin")})


def images(side: int, channels: int = 3, count: int = 4) -> tuple[Tensor, Tensor]:
    torch.manual_seed(side)
    one = torch.rand(count, channels, side, side) * 2 - 1
    return one, (one + 0.3 * torch.randn_like(one)).clamp(-1, 1)


@pytest.mark.parametrize("side", [31, 64, 97])
def test_lpips_is_that_of_its_authors(side: int, peer: nn.Module, ours: Lpips) -> None:
    one, other = images(side)
    with torch.no_grad():
        np.testing.assert_allclose(ours(one, other), peer(one, other).flatten(), rtol=2e-5)
        assert not ours(one, one).any()


def test_gray_is_seen_as_color(ours: Lpips) -> None:
    one, other = images(40, channels=1)
    with torch.no_grad():
        np.testing.assert_allclose(ours(one, other), ours(one.expand(-1, 3, -1, -1), other.expand(-1, 3, -1, -1)), rtol=1e-6)


def test_a_distance_of_uint8_depends_on_the_pair_alone(ours: Lpips) -> None:
    random = np.random.default_rng(0)
    one, other = random.integers(0, 256, (2, 11, 3, 40, 40), dtype=np.uint8)
    found = of_pairs(ours)(one, other)
    with torch.no_grad():
        expected = ours(*(torch.from_numpy(x).float() / 127.5 - 1 for x in (one, other)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.array_equal(np.concatenate([of_pairs(ours)(one[:3], other[:3]), of_pairs(ours)(one[3:], other[3:])]), found)
    assert not of_pairs(ours)(one, one).any()


def test_gradients_are_finite_where_features_are_zero(ours: Lpips) -> None:
    """The authors' are not: they divide by a root of zero."""
    black = torch.full((1, 3, 31, 31), -1.0, requires_grad=True)
    silent = lpips(
        {f"features.{k}": torch.zeros_like(v) for k, v in perceptual_trunk(ours).items()},
        {f"lin{i}.model.1.weight": head for i, head in enumerate(ours.heads)},
    )
    silent(black, torch.ones(1, 3, 31, 31)).sum().backward()
    assert black.grad is not None and torch.isfinite(black.grad).all()


def perceptual_trunk(network: Lpips) -> dict[str, Tensor]:
    """Its tensors by their place in torchvision's network: parts keep the numbers of their layers."""
    return {name: value for part in network.perceive.layers for name, value in part.state_dict().items()}


def test_weights_that_cannot_be_fetched_name_the_way_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(perceptual, "ALEXNET_URL", "http://127.0.0.1:9/alexnet-owt-7be5be79.pth")
    with pytest.raises(ExtractorError, match=r"lpips: published: .*alexnet-owt-\w+\.pth .* or take lpips out for perceptual"):
        load_lpips()


def test_the_heads_are_those_whose_hash_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peer: nn.Module) -> None:
    """The package's file is the published one; a trunk of another hash is refused."""
    heads = Path(published.__file__).parent / "weights" / "v0.1" / "alex.pth"
    (tmp_path / "atelier").mkdir()
    (tmp_path / "atelier" / "alex.pth").write_bytes(heads.read_bytes())
    trunk = {f"features.{key.split('.', 2)[2]}": value for key, value in peer.state_dict().items() if key.startswith("net.slice")}
    torch.save(trunk, tmp_path / "atelier" / "alexnet-owt-7be5be79.pth")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ExtractorError, match=r"not 7be5be79.* of the published weights"):
        load_lpips()
    monkeypatch.setattr(perceptual, "ALEXNET_SHA256", sha256_file(tmp_path / "atelier" / "alexnet-owt-7be5be79.pth"))
    one, other = images(64)
    with torch.no_grad():
        np.testing.assert_allclose(load_lpips()(one, other), peer(one, other).flatten(), rtol=2e-5)


def test_as_a_metric_it_names_both_files(
    ours: Lpips, pack_images: Callable[..., PackedDataset], measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perceptual, "load_lpips", lambda: ours)
    random = np.random.default_rng(2)
    images, target, given = random.integers(0, 256, (3, 16, 3, 32, 32), dtype=np.uint8)
    dataset = pack_images({"a": list(target.transpose(0, 2, 3, 1))}, resolution=32)
    settings = measured(samples=16).model_copy(update={"metrics": ["lpips"]})
    evaluator = Evaluator(dataset, settings, tmp_path, progress=False)
    found = evaluator([Sample(images, target, given)], having={Need.TARGET, Need.PICTURE})
    assert list(found.flat) == ["lpips", "input_lpips"]
    for name, side in (("lpips", images), ("input_lpips", given)):
        assert found[name].value == pytest.approx(of_pairs(ours)(side, target).mean(), rel=1e-6)
    identity = found["lpips"].identity
    assert (identity.extractor, identity.weights) == ("alexnet, 5 layers", f"{ALEXNET_SHA256}, {HEADS_SHA256}")


def test_the_packaged_network_grades_noise_and_sees_no_difference_of_equals() -> None:
    perceive = load_perception("efficientnet_lite0", "packaged", "--network")
    error = of_pairs(lambda one, other: distance(perceive(one), perceive(other)))
    random = np.random.default_rng(1)
    index = np.arange(32) * 8 // 32
    target = random.integers(40, 215, (4, 3, 8, 8))[:, :, index][:, :, :, index].astype(np.uint8)
    noise = random.normal(0, 1, target.shape)
    found = [error((target + level * noise).clip(0, 255).astype(np.uint8), target) for level in (0, 4, 16, 64)]
    assert not found[0].any()
    assert all((less < more).all() for less, more in itertools.pairwise(found))
