"""Means of many latents, and the space in which each family is mixed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from atelier.latent import edits
from atelier.latent.space import space_of, spherical_mean, weighted
from atelier.models.model import GeneratorError, load_latent_generator, slerp
from tests.support.small_models import FROM_NOISE, make_checkpoint


def test_the_mean_of_two_is_slerp() -> None:
    points = torch.randn(2, 40, generator=torch.Generator().manual_seed(0))
    points = 6 * points / points.norm(dim=1, keepdim=True)
    for share in (0.1, 0.5, 0.8):
        expected = slerp(points[:1].double().numpy(), points[1:].double().numpy(), share)[0]
        np.testing.assert_allclose(spherical_mean(points, torch.tensor([1 - share, share])), expected, atol=1e-5)


def test_the_mean_of_many_has_weights_and_stays_on_the_sphere() -> None:
    axes = 3 * torch.eye(3)
    third = spherical_mean(axes, torch.full((3,), 1 / 3))
    assert torch.allclose(third, torch.full((3,), math.sqrt(3)), atol=1e-6)
    heavy = spherical_mean(axes, torch.tensor([0.6, 0.2, 0.2]))
    assert heavy.norm() == pytest.approx(3, abs=1e-5) and heavy[0] > heavy[1] == pytest.approx(heavy[2].item(), abs=1e-5)
    # of minus the gradient of the sum of weighted squares of angles nothing is left at the mean
    unit = heavy.double() / 3
    pull = []
    for weight, axis in zip((0.6, 0.2, 0.2), torch.eye(3).double(), strict=True):
        angle = (axis @ unit).arccos()
        pull.append(weight * angle * (axis - angle.cos() * unit) / angle.sin())
    assert torch.stack(pull).sum(dim=0).abs().max() < 1e-6
    with pytest.raises(GeneratorError, match="opposite"):
        spherical_mean(torch.stack([axes[0], -axes[0]]), torch.tensor([0.5, 0.5]))


@pytest.mark.parametrize("family", FROM_NOISE)
def test_every_family_is_mixed_in_its_space(family: str, tmp_path: Path) -> None:
    """One weight alone gives a seed's own image; in w the mean is linear, in z a move keeps the length."""
    generator = load_latent_generator(make_checkpoint(tmp_path / "checkpoint", family))
    space, of = space_of(generator), edits.points(generator, [1, 2, 3], label=2)
    assert space.name == ("w" if family in ("stylegan2", "gat") else "z")
    where = space.points(of)
    assert torch.equal(space.codes(where, of.labels), generator.code(of.latents, of.labels))
    images = weighted(space, of, torch.tensor([[0.0, 5.0, 0.0], [1.0, 1.0, 2.0]]))
    own = edits.truncated(generator, of, [1.0])
    assert np.abs(images[0].astype(int) - own[1]).max() <= 1 < np.abs(images[1].astype(int) - own[2]).max()
    there = space.moved(where, torch.ones(where.shape[1]))
    if space.mapped:
        assert torch.equal(there, where + 1)
    else:
        assert torch.allclose(there.norm(dim=1), where.norm(dim=1), rtol=1e-5)
