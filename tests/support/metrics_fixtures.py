from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from atelier.config import settings
from atelier.config.data import DataSettings
from atelier.config.evaluation import EvaluateSettings
from atelier.data.pack import pack
from atelier.data.packed import PackedDataset
from atelier.extractors.base import Extractor
from tests.support.small import PARAMS

__all__ = [
    "digits",
    "held_out",
    "means",
    "measured",
    "one_thread",
    "pack_images",
    "partial_inception",
    "peer",
    "photographs",
    "varied_inception",
]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tests run beside each other; threads that wait for each other only slow them down."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def measured() -> Callable[..., EvaluateSettings]:
    """`measured(samples=…)`: the evaluate section of params.yaml with some values changed."""
    values = settings.load(PARAMS).evaluate.model_dump()
    return lambda **changes: EvaluateSettings.model_validate({**values, **changes})


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 1,797 UCI digits, packed at 28 px with a fifth held out."""
    folder = tmp_path_factory.mktemp("digits") / "packed"
    target = settings.load(PARAMS).data["target"].model_copy(update={"holdout": 0.2})
    pack(target, folder, workers=1, progress=False)
    return folder


@pytest.fixture(scope="session")
def held_out(digits: Path) -> np.ndarray:
    """The held-out digits, uint8 [N,1,28,28]."""
    dataset = PackedDataset(digits, "test")
    return dataset.images(np.arange(len(dataset)))


@pytest.fixture(scope="session")
def pack_images(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., PackedDataset]:
    """`pack_images({class: [uint8 [H,W,3], …]}, resolution=32)`: a packed dataset of them, color, nothing held out."""
    values = settings.load(PARAMS).data["base"].model_dump()

    def make(images: dict[str, list[np.ndarray]], **changes: Any) -> PackedDataset:
        root = tmp_path_factory.mktemp("images")
        for name, members in images.items():
            (root / "raw" / name).mkdir(parents=True)
            for number, pixels in enumerate(members):
                Image.fromarray(pixels).save(root / "raw" / name / f"{number}.png")
        source = {"source": "folder", "path": str(root / "raw"), "channels": 3, "holdout": 0.0}
        pack(DataSettings.model_validate({**values, **source, **changes}), root / "packed", workers=1, progress=False)
        return PackedDataset(root / "packed")

    return make


@pytest.fixture(scope="session")
def photographs(asset: Callable[[str], Path]) -> list[Image.Image]:
    """40 gray medical images of 64 px, of all classes."""
    with zipfile.ZipFile(asset("data/mednist-64-subset.zip")) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith((".jpeg", ".jpg")))[::300]
        return [Image.open(io.BytesIO(archive.read(name))).copy() for name in names]


class Means(nn.Module):
    """Mean of each of the 16 squares of an image, over its colors."""

    passes = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        Means.passes += 1
        return nn.functional.adaptive_avg_pool2d(images.mean(dim=1, keepdim=True), 4).flatten(1)


@pytest.fixture(scope="session")
def partial_inception(asset: Callable[[str], Path]) -> Path:
    """The published Inception weights up to Mixed_7a."""
    return asset("weights/inception-2015-12-05-upto-Mixed_7a.pth")


@pytest.fixture
def means(monkeypatch: pytest.MonkeyPatch) -> type[Means]:
    """Evaluations see with 16 means instead of a network: fast, and `means.passes` counts the forward passes."""

    def load(name: str, weights: str, size: tuple[int, int], device: str = "cpu", layer: str = "default") -> Extractor:
        return Extractor("means", Means(), lambda images: images.float() / 255, 16, "0" * 64, "none", size, 16, device)

    monkeypatch.setattr("atelier.metrics.evaluator.load_extractor", load)
    monkeypatch.setattr(Means, "passes", 0)
    return Means


class Peer(FeatureExtractorInceptionV3):
    """torch-fidelity's extractor itself; the weights it is not given keep their initial values."""

    def __init__(self, layer: str, state: dict[str, torch.Tensor]) -> None:
        file = io.BytesIO()
        torch.save(state, file)
        file.seek(0)
        super().__init__("peer", [layer], feature_extractor_weights_path=file)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        return super().load_state_dict(state_dict, strict=False, assign=assign)

    def of(self, images: list[Image.Image]) -> torch.Tensor:
        """Features [N, d] of images decoded as torch-fidelity decodes them."""
        pixels = np.stack([np.asarray(image.convert("RGB")) for image in images]).transpose(0, 3, 1, 2)
        with torch.inference_mode():
            return torch.cat([self(torch.from_numpy(pixels[start : start + 8].copy()))[0] for start in range(0, len(pixels), 8)])


@pytest.fixture(scope="session")
def peer() -> type[Peer]:
    return Peer


@pytest.fixture(scope="session")
def varied_inception(peer: type[Peer]) -> dict[str, torch.Tensor]:
    """A whole seeded state dict of the Inception network, `fc` included, whose features differ from image to image.

    Convolutions are scaled as He et al. 2015, and the batch norms hold the statistics of eight noises, from coarse to fine:
    without them the signal dies on the way (deviations of 1e-7 of the mean, distances of 1e-13). Logits have a deviation of 3.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = peer("2048", {})
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.weight, 0.8, 1.2)
                nn.init.normal_(layer.bias, std=0.2)
                layer.momentum = 1.0
        noises = [nn.functional.interpolate(torch.rand(1, 3, 2**n, 2**n), 299, mode="bicubic").clamp(0, 1) for n in range(1, 9)]
        images = (torch.cat(noises) * 255).to(torch.uint8)
        with torch.inference_mode():
            network.train()(images)
            features = network.eval()(images)[0]
            network.fc.weight.copy_(torch.randn_like(network.fc.weight))
            network.fc.weight.mul_(3 / (features @ network.fc.weight.T).std(dim=0).mean())
            network.fc.bias.copy_(torch.randn_like(network.fc.bias))
        return {name: value.clone() for name, value in network.state_dict().items()}
