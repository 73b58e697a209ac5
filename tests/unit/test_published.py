"""Published generators: what the authors' own code generated with the same numbers, and what has no place is refused.

published_networks.json holds small networks of stylegan2-ada-pytorch (commit d72cc7d) and R3GAN (commit 19a7ddf): the shapes of
their tensors, and what their code, run on a CPU in float32 with constant noise on 2026-11-27, generated when the tensor of the
i-th name was filled with default_rng(i).normal(), those of R3GAN's main layers with a third of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from atelier.models.model import load_generator
from atelier.models.published import PublishedError, convert
from atelier.training.checkpoint import read_history

NETWORKS = json.loads(Path(__file__).with_name("published_networks.json").read_text())


def tensors(network: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors as they were filled for the authors' code."""
    found = {}
    for index, name in enumerate(sorted(network["shapes"])):
        values = np.random.default_rng(index).normal(size=network["shapes"][name]) * (0.3 if "MainLayers" in name else 1)
        found[name] = torch.from_numpy(np.array(values, dtype=np.float32))
    return found


def saved(path: Path, found: dict[str, Tensor]) -> Path:
    save_file(found, path)
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_it_paints_what_the_authors_code_paints(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    info = convert(saved(tmp_path / "network.safetensors", tensors(network)), tmp_path / "ours")
    generator = load_generator(tmp_path / "ours")
    latents = np.random.default_rng(1000).normal(size=(2, network["latent"])).astype(np.float32)
    label = torch.tensor([0, network["classes"] - 1]) if network["classes"] else None
    assert info.classes == [str(n) for n in range(network["classes"])]
    expected = np.array(network["images"])
    assert read_history(tmp_path / "ours") == {"points": [], "evaluations": [], "compute": []}  # which a report asks for
    np.testing.assert_allclose(generator(torch.from_numpy(latents), label), expected, atol=1e-5 * np.abs(expected).max())


def test_classes_are_named_in_their_order(tmp_path: Path) -> None:
    source = saved(tmp_path / "network.safetensors", tensors(NETWORKS["stylegan2_skip"]))
    assert convert(source, tmp_path / "ours", ["cat", "dog", "owl"]).classes == ["cat", "dog", "owl"]
    with pytest.raises(PublishedError, match="knows 3 classes, not 2"):
        convert(source, tmp_path / "other", ["cat", "dog"])
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_tensor_too_many_or_too_few(name: str, tmp_path: Path) -> None:
    found = tensors(NETWORKS[name])
    more = saved(tmp_path / "more.safetensors", {**found, "synthesis.extra": torch.zeros(2)})
    with pytest.raises(PublishedError, match=r"more.safetensors: 1 tensors have no place .* synthesis.extra"):
        convert(more, tmp_path / "ours")
    missing = "AggregationLayer.Layer.weight" if "r3gan" in name else "synthesis.b8.conv1.noise_strength"
    less = saved(tmp_path / "less.safetensors", {key: value for key, value in found.items() if not key.endswith(missing)})
    with pytest.raises(PublishedError, match=rf"less.safetensors: its tensor '{missing}' is missing"):
        convert(less, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_latent_and_style_of_two_sizes(tmp_path: Path) -> None:
    found = tensors(NETWORKS["stylegan2_residual"])
    found["mapping.fc0.weight"] = torch.zeros(6, 7)
    with pytest.raises(PublishedError, match="takes 7 numbers and makes 6"):
        convert(saved(tmp_path / "odd.safetensors", found), tmp_path / "ours")


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(PublishedError, match=r"no generator of .*ESRGAN.*MSRResNet or stylegan2-ada-pytorch"):
        convert(saved(tmp_path / "other.safetensors", {"weight": torch.zeros(2)}), tmp_path / "ours")
    pickle = tmp_path / "network.pkl"
    pickle.write_bytes(b"\x80\x04cos\nsystem\n(S'echo'\ntR.")
    with pytest.raises(PublishedError, match=r"network.pkl: not a safetensors file; .* code, which Atelier never reads"):
        convert(pickle, tmp_path / "ours")
    with pytest.raises(PublishedError, match=r"none.safetensors: no such file"):
        convert(tmp_path / "none.safetensors", tmp_path / "ours")
