"""DINOv2 from a user's file: the official network at 224 px, whichever way its tensors are named and stored."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import nn
from torch.nn import functional as F

from atelier.extractors import ExtractorError, dinov2, load_extractor
from atelier.extractors.base import Extractor
from atelier.extractors.dinov2 import dinov2_network
from tests.support.dinov2_networks import State, described, official_fixture, state_fixture

__all__ = ["official_fixture", "state_fixture"]
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Six noises from coarse to fine, at 224 px: there is nothing to resize."""
    rng = torch.Generator().manual_seed(1)
    noises = [F.interpolate(torch.rand(1, 3, 2**n, 2**n, generator=rng), 224, mode="nearest") for n in range(1, 7)]
    return (torch.cat(noises) * 255).to(torch.uint8).numpy()


def normalized(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(((images.transpose(0, 2, 3, 1) / 255 - MEAN) / STD).transpose(0, 3, 1, 2)).float()


def cubic(x: float) -> float:
    """The cubic kernel with a = -0.75 (Keys 1981)."""
    x = abs(x)
    if x <= 1:
        return 1.25 * x**3 - 2.25 * x**2 + 1
    return -0.75 * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def resampled(positions: np.ndarray) -> np.ndarray:
    """[37, 37, d] -> [16, 16, d] by the kernel's definition, output centers 37 / 16.1 apart, what is outside repeats the edge."""
    matrix = np.zeros((16, 37))
    for row in range(16):
        center = (row + 0.5) * 37 / 16.1 - 0.5
        for place in range(int(np.floor(center)) - 1, int(np.floor(center)) + 3):
            matrix[row, np.clip(place, 0, 36)] += cubic(center - place)
    return np.einsum("ia,jb,abd->ijd", matrix, matrix, positions)


def by_hand(state: State, images: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """The vision transformer with layer scale (Dosovitskiy et al. 2021; Touvron et al. 2021), 6 heads; positions [257, 384]."""

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        x = x - x.mean(-1, keepdim=True)
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]

    patches = F.unfold(images, 14, stride=14).transpose(1, 2)
    patches = patches @ state["patch_embed.proj.weight"].flatten(1).T + state["patch_embed.proj.bias"]
    x = torch.cat([state["cls_token"].expand(len(images), -1, -1), patches], dim=1) + positions
    for block in (f"blocks.{index}" for index in range(12)):
        q, k, v = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv").unflatten(-1, (3, 6, 64)).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-1, -2) / 8).softmax(-1) @ v
        x = x + state[f"{block}.ls1.gamma"] * linear(mixed.transpose(1, 2).flatten(2), f"{block}.attn.proj")
        hidden = linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")
        hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
        x = x + state[f"{block}.ls2.gamma"] * linear(hidden, f"{block}.mlp.fc2")
    return norm(x, "norm")[:, 0]


def assert_equal(features: np.ndarray, expected: np.ndarray) -> None:
    """Equal within 1e-4, where features of different images differ by far more."""
    scale = np.linalg.norm(expected, axis=1).max()
    apart = np.linalg.norm(expected[:, None] - expected, axis=2) + np.diag(np.full(len(expected), np.inf))
    assert apart.min() > 0.02 * scale
    assert np.linalg.norm(features - expected, axis=1).max() < 1e-4 * scale


def test_the_network_is_the_official_one_at_224_px(state: State, official: Path, images: np.ndarray) -> None:
    extractor = load_extractor("dinov2", str(official), (224, 224))
    positions = state["pos_embed"][0].double().numpy()
    small = np.concatenate([positions[:1], resampled(positions[1:].reshape(37, 37, -1)).reshape(256, -1)])
    with torch.inference_mode():
        expected = by_hand(state, normalized(images), torch.from_numpy(small).float())
    assert_equal(extractor.features(images), expected.numpy())
    assert (extractor.name, extractor.dim, extractor.layer) == ("dinov2_vits14", 384, "default")
    assert (extractor.head, extractor.is_fid) == (None, False)
    assert extractor.weights_hash == hashlib.sha256(official.read_bytes()).hexdigest()


def test_it_is_timms_network_where_positions_need_no_resampling(state: State, tmp_path: Path, images: np.ndarray) -> None:
    even = {**state, "pos_embed": state["pos_embed"].clone()}
    even["pos_embed"][:, 1:] = even["pos_embed"][:, 1:2]
    safetensors.torch.save_file(even, tmp_path / "even.safetensors")
    native = timm.create_model("vit_small_patch14_dinov2", num_classes=0, dynamic_img_size=True).eval()
    native.load_state_dict(even)
    with torch.inference_mode():
        expected = native(normalized(images)).numpy()
    assert_equal(load_extractor("dinov2", str(tmp_path / "even.safetensors"), (224, 224)).features(images), expected)


@pytest.mark.parametrize("size", [(64, 64), (300, 200), (310, 500)])
def test_images_reach_it_as_in_dgm_eval(monkeypatch: pytest.MonkeyPatch, official: Path, size: tuple[int, int]) -> None:
    """Resized by Pillow to uint8, first the width, then the height; few levels differ, and by 2 at most."""
    prepared = []

    class Seeing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cls_token = nn.Parameter(torch.zeros(1, 1, 384))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            prepared.append(images)
            return images[:, :, 0, 0]

    monkeypatch.setattr(dinov2, "dinov2_network", lambda state, origin: ("seeing", Seeing()))
    image = load_sample_image("china.jpg")[100 : 100 + size[0], 100 : 100 + size[1]]
    extractor: Extractor = load_extractor("dinov2", str(official), size)
    extractor.features(image.transpose(2, 0, 1)[None])
    levels = (prepared[0][0].permute(1, 2, 0).double().numpy() * STD + MEAN) * 255
    wide = Image.fromarray(image).resize((224, size[0]), Image.Resampling.BICUBIC)
    differences = np.abs(levels - np.asarray(wide.resize((224, 224), Image.Resampling.BICUBIC)))
    assert differences.max() < 2.001
    assert (differences > 0.01).mean() < 0.02
    shown = "64" if size == (64, 64) else f"{size[0]}x{size[1]}"
    assert extractor.resize == f"{shown} to 224 px, bicubic as Pillow (antialiased, rounded), (x / 255 - mean) / std of ImageNet"


@pytest.mark.parametrize(("size", "name", "width"), [("base", "dinov2_vitb14", 768), ("large", "dinov2_vitl14", 1024)])
def test_the_size_is_read_from_the_tensors(size: str, name: str, width: int) -> None:
    found, network = dinov2_network(described(size), "weights.pth")
    assert (found, network.get_parameter("norm.weight").shape) == (name, (width,))


def test_other_networks_are_refused(state: State) -> None:
    where = "published at https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth"
    for wrong, problem in (
        (described("giant"), "holds no DINOv2 of size S, B or L"),
        ({f"embeddings.{name}": value for name, value in state.items()}, "holds no DINOv2 of size S, B or L"),
        ({**state, "register_tokens": torch.zeros(1, 4, 384)}, "not DINOv2 vits14 without registers, .* register_tokens"),
        ({**state, "pos_embed": state["pos_embed"][:, :257]}, "not DINOv2 vits14 .* differs at pos_embed"),
        ({name: value for name, value in state.items() if "blocks.11" not in name}, "differs at blocks.11.attn.proj.bias, "),
    ):
        with pytest.raises(ExtractorError, match=f"weights.pth: .*{problem}.*; .*{where}"):
            dinov2_network(wrong, "weights.pth")


def test_loading_leaves_the_random_state_alone(official: Path) -> None:
    before = torch.get_rng_state()
    load_extractor("dinov2", str(official), (28, 28))
    assert torch.equal(torch.get_rng_state(), before)
