"""Sliders against a generator whose latent is known to move one thing each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from atelier.latent import sliders
from atelier.latent.sliders import CANDIDATES, COUNT, Sliders, found, kept
from atelier.models.model import GeneratorError, load_latent_generator
from atelier.networks.base import ImageShape, LatentGenerator
from tests.support.small_models import make_checkpoint

SIDE = 24
MEANS = {"x_position": 0, "brightness": 1, "y_position": 2}  # which number of the latent moves it


class Spot(LatentGenerator):
    """A spot whose place across, strength and place down are the first three numbers of the latent; the fourth is nothing."""

    def __init__(self) -> None:
        super().__init__(4, ImageShape(SIDE, 1, 0))
        self.first = nn.Linear(4, 4, bias=False)
        nn.init.eye_(self.first.weight)
        self.first.weight.data *= torch.tensor([1.0, 0.9, 0.8, 0.1])[:, None]
        self.sha256 = "a" * 64

    def code(self, z: Tensor, label: Tensor | None) -> Tensor:
        return z[:, None]

    def synthesize(self, code: Tensor, label: Tensor | None, noise: Tensor | None = None) -> Tensor:
        x, light, y, _ = torch.tanh(self.first(code[:, 0]) / 2).unbind(1)
        place = torch.linspace(-2, 2, SIDE)
        spot = torch.exp(-4 * ((place - x[:, None]) ** 2)[:, None, :] - 4 * ((place - y[:, None]) ** 2)[:, :, None])
        return 2 * (0.6 + 0.4 * light)[:, None, None, None] * spot[:, None] - 1


def test_sliders_are_named_by_what_they_change() -> None:
    heard: list[float] = []
    made = found(Spot().eval(), heard.append)
    by_name = {one.attribute: one for one in made.sliders}
    assert {"x_position", "y_position"} <= by_name.keys() and len(made.sliders) <= COUNT
    for name in ("x_position", "y_position"):
        vector = np.array(by_name[name].vector)
        assert np.abs(vector).argmax() == MEANS[name] and vector[MEANS[name]] > 0.9, "it grows with the slider"
        assert 0.5 < by_name[name].correlation <= 1
    assert made.sliders[0].correlation == max(one.correlation for one in made.sliders)
    assert len({one.name for one in made.sliders}) == len(made.sliders)
    assert heard[-1] == 1.0 and heard == sorted(heard) and len(heard) <= 2 * CANDIDATES
    assert np.linalg.norm(made.sliders[0].vector) == pytest.approx(1, abs=1e-5), "a standard deviation of latents"


def test_what_changes_nothing_is_no_slider(monkeypatch: pytest.MonkeyPatch) -> None:
    def blank(self: Spot, code: Tensor, *given: object) -> Tensor:
        return 0 * self.first(code[:, 0]).sum() + torch.zeros(len(code), 1, SIDE, SIDE)

    monkeypatch.setattr(Spot, "synthesize", blank)
    assert found(Spot().eval()).sliders == []


@pytest.mark.parametrize("family", ["stylegan2", "biggan"])
def test_a_mapping_is_moved_in_its_latents(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sliders, "SAMPLES", 60)
    generator = load_latent_generator(make_checkpoint(tmp_path / "checkpoint", family))
    assert {len(one.vector) for one in found(generator).sliders} == {generator.latent_dim}


def test_they_are_found_once_and_kept_for_their_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator, path = Spot().eval(), tmp_path / "sliders" / "a.json"
    first = kept(path, generator)
    monkeypatch.setattr(sliders, "found", lambda *given: pytest.fail("found again"))
    assert kept(path, generator) == first
    generator.sha256 = "b" * 64
    with pytest.raises(GeneratorError, match="of other weights"):
        kept(path, generator)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(GeneratorError, match="no sliders"):
        kept(path, generator)
    assert Sliders.model_validate(first.model_dump()) == first
