"""Ways through the latent space, against what they must be at their ends, in the middle and for each family's kind of code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from atelier.latent import edits
from atelier.models.model import GeneratorError, load_latent_generator, sample, slerp
from atelier.networks.base import LatentGenerator
from tests.support.small_models import CLASSES, FROM_NOISE, make_checkpoint


@pytest.fixture(params=FROM_NOISE)
def generator(request: pytest.FixtureRequest, tmp_path: Path) -> LatentGenerator:
    return load_latent_generator(make_checkpoint(tmp_path / "checkpoint", request.param))


def served(generator: LatentGenerator, seed: int) -> np.ndarray:
    """What a seed's image is everywhere else."""
    (images,) = sample(generator, 1, seed)
    return images[0]


def near(images: np.ndarray, others: np.ndarray) -> bool:
    """Equal but for rounding: other batches may change a level."""
    return bool(np.abs(images.astype(int) - others.astype(int)).max() <= 1)


def test_great_circle() -> None:
    first, second = np.array([[3.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 3.0], [2.0, 0.0]])
    middle = slerp(first, second, 0.5)
    np.testing.assert_allclose(middle[0], [3 / np.sqrt(2), 3 / np.sqrt(2)], rtol=1e-12)
    np.testing.assert_allclose(middle[1], [1.5, 0.0], rtol=1e-12)  # no circle between collinear ends: the line
    shares = np.array([[0.0], [1.0]])
    np.testing.assert_allclose(slerp(first[:1].repeat(2, 0), second[:1].repeat(2, 0), shares), [[3, 0], [0, 3]], atol=1e-12)
    third = slerp(first[:1], second[:1], 1 / 3)
    assert np.linalg.norm(third) == pytest.approx(3) and np.arctan2(third[0, 1], third[0, 0]) == pytest.approx(np.pi / 6)


def test_points_are_those_that_are_served(generator: LatentGenerator) -> None:
    of = edits.points(generator, [7, 12])
    images = edits.truncated(generator, of, [1.0])
    assert near(images, np.stack([served(generator, 7), served(generator, 12)]))
    given = edits.points(generator, [7, 12], label=3)
    assert given.labels is not None and given.labels.tolist() == [3, 3] and torch.equal(given.latents, of.latents)
    with pytest.raises(GeneratorError, match="label 5 is none of the generator's 5"):
        edits.points(generator, [7], label=len(CLASSES))


def test_truncation_takes_variety_away(generator: LatentGenerator) -> None:
    of = edits.points(generator, range(12), label=1)
    images = edits.truncated(generator, of, [0.0, 0.5, 1.0]).reshape(12, 3, 28, 28).astype(float)
    spread = images.std(axis=0).mean(axis=(1, 2))
    assert spread[0] < 0.5 < spread[1] < spread[2]


def test_interpolation_ends_at_the_points(generator: LatentGenerator) -> None:
    of = edits.points(generator, [1, 2, 3])
    images = edits.between(generator, of, 6)
    own = edits.truncated(generator, of, [1.0])
    assert len(images) == 12
    assert near(images[[0, 5, 6, 11]], own[[0, 1, 1, 2]])
    assert not near(images[2], own[0]) and not near(images[2], own[1])


def test_mixtures_take_their_label_and_coarse_parts_from_the_row(generator: LatentGenerator) -> None:
    coarse, fine = edits.points(generator, [1, 2], label=0), edits.points(generator, [3, 4, 5], label=0)
    images = edits.mixed(generator, coarse, fine, None)
    assert images.shape == (6, 1, 28, 28)
    assert not near(images[0], images[1]) and not near(images[0], images[3])
    code = generator.code(coarse.latents, coarse.labels)
    if code.shape[1] == 1:
        middle = edits.between(
            generator, edits.Points(torch.stack([coarse.latents[1], fine.latents[2]]), torch.tensor([0, 0])), 3
        )
        assert near(images[5], middle[1])
        with pytest.raises(GeneratorError, match="single part"):
            edits.mixed(generator, coarse, fine, 1)
        return
    same = edits.mixed(generator, coarse, coarse, 1)
    assert near(same[[0, 3]], edits.truncated(generator, coarse, [1.0]))
    with pytest.raises(GeneratorError, match=f"has {code.shape[1]} parts"):
        edits.mixed(generator, coarse, fine, code.shape[1])


def test_a_walk_is_closed_and_passes_its_stops(generator: LatentGenerator) -> None:
    torch.manual_seed(0)
    stops, labels = torch.randn(2, 3, generator.latent_dim), torch.tensor([1, 4])
    frames = list(edits.walk(generator, stops, labels, 4))
    assert len(frames) == 12 and frames[0].shape == (2, 1, 28, 28)
    for index in range(3):
        own = edits.synthesized(generator, generator.code(stops[:, index], labels), labels)
        assert near(frames[4 * index], own)
    steps = [np.abs(a.astype(float) - b.astype(float)).mean() for a, b in zip(frames, [*frames[1:], frames[0]], strict=True)]
    jump = np.abs(frames[0].astype(float) - frames[6].astype(float)).mean()
    assert max(steps) < 1.5 * jump


def test_generators_without_classes(tmp_path: Path) -> None:
    generator = load_latent_generator(make_checkpoint(tmp_path / "checkpoint", "mlp", conditional=False))
    of = edits.points(generator, [1, 2])
    assert of.labels is None
    assert (
        edits.between(generator, of, 3).shape
        == edits.mixed(generator, of, edits.points(generator, [3, 4, 5][:2]), None)[:3].shape
    )
    with pytest.raises(GeneratorError, match="no classes"):
        edits.points(generator, [1], label=0)
