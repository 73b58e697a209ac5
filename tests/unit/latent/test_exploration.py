"""The search for originals: what it finds is acceptable, more original than what it began with, and the same for a seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from atelier.extractors.base import Extractor
from atelier.latent import edits
from atelier.latent.discriminator import load_discriminator
from atelier.latent.exploration import Judge, explore
from atelier.metrics.originality import Familiar
from atelier.models.model import NETWORKS, GeneratorError, from_uint8, load_latent_generator
from atelier.training.judge import has_discriminator, logits_of
from tests.support.metrics_fixtures import Means
from tests.support.small_models import make_checkpoint, networks


@pytest.fixture(name="judge", params=["mlp", "stylegan2"])
def judge_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Judge:
    """Real images are those of other seeds, with some noise."""
    generator = load_latent_generator(make_checkpoint(tmp_path / "checkpoint", request.param))
    extractor = Extractor("means", Means(), lambda images: images.float() / 255, 16, "0" * 64, "none", (28, 28), 16)
    images = edits.truncated(generator, edits.points(generator, range(100, 300)), [1.0])
    seen = extractor.features(images)
    familiar = Familiar.of(seen[:150], seen[150:], np.arange(150))
    return Judge(generator, extractor, familiar, familiar.bound(0.05))


def test_it_climbs_among_what_is_acceptable(judge: Judge) -> None:
    found = explore(judge, 8, 80, seed=1)
    assert 0 < found.accepted <= 1 and 1 < len(found.best.images) <= 8
    for one in (found.begun, found.best):
        assert (one.realism >= judge.least_realism).all() and (np.diff(one.originality) <= 0).all()
        apart = np.linalg.norm(one.features[:, None] - one.features, axis=2)[~np.eye(len(one.features), dtype=bool)]
        assert (apart >= judge.familiar.typical).all(), "no variants of one image"
    assert found.best.originality[0] >= found.begun.originality[0]
    assert np.median(found.best.originality) > np.median(found.begun.originality)
    again = explore(judge, 8, 80, seed=1)
    assert torch.equal(again.best.codes, found.best.codes)
    one = judge(found.best.codes[2:3], None if found.best.labels is None else found.best.labels[2:3])
    assert one.novelty == pytest.approx(found.best.novelty[2:3], abs=0.05)


def test_without_anything_acceptable_it_says_so(judge: Judge) -> None:
    with pytest.raises(GeneratorError, match=r"none of 8 images is as real-like .* --accept"):
        explore(replace(judge, least_realism=np.inf), 8, 16, seed=0)


def test_a_checkpoints_discriminator_judges(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint", "stylegan2")
    assert not has_discriminator(folder)
    _, discriminator = networks("stylegan2", True, 28, 1)
    save_file({f"discriminator.{key}": value for key, value in discriminator.state_dict().items()}, folder / NETWORKS)
    assert has_discriminator(folder)
    loaded = load_discriminator(folder)
    images = np.random.default_rng(0).integers(0, 256, (70, 1, 28, 28), dtype=np.uint8)
    labels = torch.arange(70) % 5
    found = logits_of(loaded, images, labels)
    with torch.no_grad():
        expected = discriminator.eval()(from_uint8(torch.from_numpy(images[:64])), labels[:64]).overall
    assert found.shape == (70,) and torch.allclose(found[:64], expected, atol=1e-5)
