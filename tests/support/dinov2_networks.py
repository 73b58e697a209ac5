"""DINOv2 as its authors publish it, small and with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

State = dict[str, torch.Tensor]


def described(size: str, **changes: Any) -> State:
    """timm's tensors of a size, without values."""
    with torch.device("meta"):
        return timm.create_model(f"vit_{size}_patch14_dinov2", num_classes=0, **changes).state_dict()


@pytest.fixture(name="state", scope="module")
def state_fixture() -> State:
    """ViT-S at its native 518 px as timm names it, random, every part of it strong enough to be seen in the features."""
    rng = torch.Generator().manual_seed(0)
    strength = {"pos_embed": 0.5, "cls_token": 0.5, "gamma": 0.5, "bias": 0.2}
    found = {}
    for name, tensor in described("small").items():
        drawn = torch.randn(tensor.shape, generator=rng)
        known = next((value for part, value in strength.items() if name.endswith(part)), None)
        if known is None:
            known = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.2
        found[name] = drawn * known + float("norm" in name and name.endswith("weight"))
    return found


@pytest.fixture(name="official", scope="module")
def official_fixture(state: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .pth in the official naming."""
    path = tmp_path_factory.mktemp("official") / "dinov2_vits14_pretrain.pth"
    torch.save({**state, "mask_token": torch.zeros(1, 384)}, path)
    return path
