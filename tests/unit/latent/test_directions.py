"""Directions against what they must be: the first weights' singular vectors, and planted ones; attributes of drawn shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from atelier.latent import directions, edits
from atelier.latent.attributes import measured, names
from atelier.latent.directions import first_layers, fitted, pca, sefa
from atelier.latent.effects import moved
from atelier.latent.space import Space, space_of
from atelier.models.model import GeneratorError, load_latent_generator
from atelier.networks.mlp import MLPGenerator
from tests.support.small_models import FROM_NOISE, LATENT, make_checkpoint


def space_at(folder: Path, family: str) -> Space:
    return space_of(load_latent_generator(make_checkpoint(folder / "checkpoint", family)))


def test_the_closed_form_is_that_of_the_first_weights(tmp_path: Path) -> None:
    space = space_at(tmp_path, "mlp")
    assert isinstance(space.generator, MLPGenerator)
    weight = space.generator.layers[0].get_parameter("weight")[:, :LATENT].detach()
    of = directions.drawn(space, 0, None, 20)
    (layer,) = first_layers(space, of.latents[0], torch.tensor([1]))
    assert torch.allclose(layer, weight, atol=1e-6)
    rows = (weight / weight.norm(dim=1, keepdim=True)).numpy()
    expected = np.linalg.svd(rows)[2]
    for index, one in enumerate(sefa(space, of, 3)):
        assert abs(float(one.vector.numpy() @ expected[index])) == pytest.approx(1, abs=1e-4)
        assert one.vector[one.vector.abs().argmax()] > 0


@pytest.mark.parametrize("family", FROM_NOISE)
def test_in_every_family_the_first_direction_changes_the_first_layers_most(family: str, tmp_path: Path) -> None:
    """The derivative is what layers give, and its first direction outweighs its last one; codes move along it."""
    space = space_at(tmp_path, family)
    of = edits.points(space.generator, range(8), label=1)
    where, label = space.points(of), torch.tensor([1])
    for layer, _ in zip(first_layers(space, where[0], label), range(2), strict=False):
        assert layer.shape[1] == where.shape[1] and layer.abs().max() > 0
    found = sefa(space, of, where.shape[1])
    assert found[0].explained >= found[-1].explained and len(found) == where.shape[1]
    assert sum(one.explained for one in found) == pytest.approx(1, abs=1e-5)
    change = [np.abs(moved(space, where, of.labels, step * found[0].vector).astype(int)) for step in (0, 2)]
    assert np.abs(change[1] - change[0]).mean() > 0.5


@pytest.mark.parametrize("family", ["mlp", "stylegan2"])
def test_principal_components_are_orthogonal_and_ordered(family: str, tmp_path: Path) -> None:
    space = space_at(tmp_path, family)
    of = directions.drawn(space, 0, None, 120)
    found = pca(space, of, 3)
    shares = [one.explained for one in found]
    assert sum(shares) <= 1.0001 and min(shares) >= 0
    if not space.mapped:
        return
    assert shares == sorted(shares, reverse=True)
    units = torch.stack([one.vector / one.vector.norm() for one in found])
    assert torch.allclose(units @ units.T, torch.eye(3), atol=1e-4)


def test_planted_attributes_are_found(tmp_path: Path) -> None:
    space = space_at(tmp_path, "mlp")
    of = directions.drawn(space, 0, None, 200)
    planted = torch.tensor([3.0, 0, -4.0, 0, 0, 0]) / 5
    values = (of.latents @ planted).numpy().astype(float)
    number, kind = fitted(space, of, values, "number"), fitted(space, of, (values > 0.2).astype(float), "kind")
    assert (number.method, kind.method, kind.attribute) == ("linear", "logistic", "kind")
    assert number.vector @ planted > 0.99 and kind.vector @ planted > 0.95
    assert number.explained > 0.9 and kind.explained > 0.9
    with pytest.raises(GeneratorError, match="of two values at least"):
        fitted(space, of, np.ones(200), "constant")
    with pytest.raises(GeneratorError, match="of one kind there are 2 labels"):
        fitted(space, of, (np.arange(200) < 2).astype(float), "rare")


def test_attributes_of_drawn_shapes() -> None:
    images = np.zeros((3, 1, 32, 32), np.uint8)
    images[0, 0, 8:24, 15:17] = 255  # a bar
    for row in range(8, 24):
        images[1, 0, row, 31 - row : 33 - row] = 255  # leaning to the right by 45 degrees
    images[2, 0, 8:24, 11:21] = 255
    found = measured(images)
    assert found["slant"][:2] == pytest.approx([0, 1], abs=0.01)
    assert found["width"][2] > 2 * found["width"][0] and found["height"][0] == pytest.approx(found["height"][2], abs=1e-3)
    assert found["height"][0] == pytest.approx(16 / 32 / np.sqrt(12), rel=0.01)
    assert found["brightness"][0] == pytest.approx(32 / 1024) and tuple(found) == names(1)
    assert found["size"] == pytest.approx([32 / 1024, 32 / 1024, 160 / 1024], rel=1e-3)
    assert (found["x_position"][0], found["y_position"][0]) == pytest.approx((0.5, 0.5))
    assert found["roundness"][0] == pytest.approx(np.sqrt((2**2 - 1) / (16**2 - 1)), rel=0.15)  # of a bar of 2 by 16 pixels
    square = np.zeros((2, 1, 32, 32), np.uint8)
    square[0, 0, 2:10, 20:28], square[1, 0, 20:28, 2:10] = 255, 255
    moved_apart = measured(square)
    assert moved_apart["roundness"] == pytest.approx([1, 1], abs=1e-6)
    assert moved_apart["x_position"] == pytest.approx([24 / 32, 6 / 32]) and moved_apart["y_position"] == pytest.approx(
        [6 / 32, 24 / 32]
    )
    color = np.zeros((1, 3, 32, 32), np.uint8)
    color[:, 0] = 255
    of_color = measured(color)
    assert (of_color["warmth"][0], of_color["saturation"][0], of_color["greenness"][0]) == (1, 1, -0.5) and tuple(
        of_color
    ) == names(3)


@pytest.mark.parametrize("family", ["stylegan2", "biggan"])
def test_some_parts_of_a_code_are_moved_alone(family: str, tmp_path: Path) -> None:
    space = space_at(tmp_path, family)
    of = edits.points(space.generator, [1, 2], label=1)
    where, by = space.points(of), 2 * torch.ones(LATENT)
    none, whole = (moved(space, where, of.labels, change).astype(int) for change in (torch.zeros(LATENT), by))
    every, first = (moved(space, where, of.labels, by, slice(0, end)).astype(int) for end in (space.parts, 1))
    assert np.abs(every - whole).max() <= 1
    assert np.abs(first - none).max() > 1 < np.abs(first - whole).max()
