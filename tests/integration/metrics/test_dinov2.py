"""DINOv2 from a user's file: the official network at 224 px, whichever way its tensors are named and stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from atelier.extractors import load_extractor
from tests.support.dinov2_networks import State, official_fixture, state_fixture

__all__ = ["official_fixture", "state_fixture"]


def test_the_naming_and_the_kind_of_file_change_no_feature(state: State, official: Path, tmp_path: Path) -> None:
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    torch.save({name: value.half() for name, value in state.items()}, tmp_path / "half.pth")
    noise = np.random.default_rng(0).integers(0, 256, (5, 1, 30, 50), dtype=np.uint8)
    first, second, rounded = (
        load_extractor("dinov2", str(path), (30, 50))
        for path in (official, tmp_path / "model.safetensors", tmp_path / "half.pth")
    )
    features = first.features(noise)
    assert np.array_equal(second.features(noise), features)
    assert np.array_equal(first.features(noise[3:]), features[3:])
    assert np.array_equal(first.features(noise.repeat(3, axis=1)), features)
    assert first.weights_hash != second.weights_hash
    assert 0 < np.linalg.norm(rounded.features(noise) - features) < 0.05 * np.linalg.norm(features)
