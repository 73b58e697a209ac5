"""The way back: a generator's own image is found again, with its class; the same seed finds the same code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from atelier.extractors.perceptual import Perception, load_perception
from atelier.latent.projection import project
from atelier.models.model import draw_latents, load_latent_generator
from tests.support.small_models import make_checkpoint


@pytest.fixture(scope="module")
def perceive() -> Perception:
    return load_perception("efficientnet_lite0", "packaged", "--network")


@pytest.mark.parametrize("family", ["mlp", "stylegan2"])
def test_own_image_is_found_again(family: str, perceive: Perception, tmp_path: Path) -> None:
    generator = load_latent_generator(make_checkpoint(tmp_path / "checkpoint", family))
    latents, _ = draw_latents(generator.latent_dim, 5, 1, seed=1234)
    label = torch.tensor([3])
    with torch.inference_mode():
        target = generator(latents, label)[0]
        other = generator(-latents, label)[0]
    found = project(generator, target.clone(), perceive, steps=60, seed=0, label=3)
    begun = project(generator, target.clone(), perceive, steps=4, seed=0, label=3)
    apart = (other - target).square().mean().sqrt().item()
    assert found.label == 3
    assert found.pixels < begun.pixels and found.distance < begun.distance
    assert found.pixels < 0.3 * apart
    again = project(generator, target.clone(), perceive, steps=4, seed=0, label=3)
    assert torch.equal(begun.code, again.code)


def test_the_class_is_that_of_the_nearest(perceive: Perception, tmp_path: Path) -> None:
    generator = load_latent_generator(make_checkpoint(tmp_path / "checkpoint", "dcgan"))
    with torch.inference_mode():
        target = generator(torch.zeros(1, generator.latent_dim), torch.tensor([4]))[0]
    assert project(generator, target.clone(), perceive, steps=4, seed=0).label == 4
