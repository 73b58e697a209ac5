"""A watermark in weights: the same vectors as of marks on images, with gradients; images that carry it, and no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from atelier.models import watermarked as module
from atelier.models.model import load_generator, sample
from atelier.models.watermarked import Analysis, WeightsError, watermarked
from atelier.provenance.watermark.finding import find_together
from atelier.provenance.watermark.marking import luminance
from atelier.provenance.watermark.spectrum import analyzed, resized
from tests.support.small_models import make_checkpoint
from tests.support.small_translators import make_checkpoint as make_translator_checkpoint
from tests.support.watermarks import SECRET


@pytest.mark.parametrize("side", [28, 64, 96])
def test_the_vector_is_that_of_marks_on_images(side: int) -> None:
    pictures = np.random.default_rng(0).uniform(0, 255, (3, side, side)).astype(np.float32)
    found = Analysis(side)(torch.from_numpy(pictures)).numpy()
    expected = np.stack([analyzed(resized(one)).unit for one in pictures])
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_flat_pictures_have_gradients() -> None:
    levels = torch.full((1, 28, 28), 255.0, requires_grad=True)
    Analysis(28)(levels).real.sum().backward()
    assert levels.grad is not None
    assert bool(levels.grad.isfinite().all())


def test_images_of_the_weights_are_named_together_by_this_mark_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"STEPS": 60, "RATE": 1e-2, "FAITH": 1e-4}.items():  # so few weights hold no better mark
        monkeypatch.setattr(module, name, value)
    generator = load_generator(make_checkpoint(tmp_path / "checkpoint", "dcgan", True, 28, 1))
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    mark = SECRET.direction("digits/4")
    made, price = watermarked(generator, mark, "full", progress=False)
    assert price.together == 4
    assert price.found > 0.9
    images = np.concatenate(list(sample(made, 16, seed=3)))[:, 0]
    others = {name: SECRET.direction(name) for name in SECRET.candidates(9)}
    found = find_together([luminance(one.astype(np.float32)) for one in images], others)
    assert (found.name, found.probability < 1e-6) == ("digits/4", True)
    plain = np.concatenate(list(sample(generator, 16, seed=3)))[:, 0]
    assert find_together([luminance(one.astype(np.float32)) for one in plain], others).probability > 1e-3
    error = np.square(images.astype(np.float32) - plain).mean()
    assert price.psnr == pytest.approx(10 * np.log10(255**2 / error), abs=3)  # of 16 others
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


def test_what_does_not_learn_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEPS", 1)
    generator = load_generator(make_checkpoint(tmp_path / "checkpoint", "mlp", False, 28, 1))
    with pytest.raises(WeightsError, match=r"did not learn the mark: of groups of 4 images 0% are named"):
        watermarked(generator, SECRET.direction("digits/4"), "full", progress=False)


def test_a_translator_is_refused(tmp_path: Path) -> None:
    generator = load_generator(make_translator_checkpoint(tmp_path / "checkpoint", "cyclegan"))
    with pytest.raises(WeightsError, match=r"takes image cannot learn a mark from noise"):
        watermarked(generator, SECRET.direction("digits/4"), "full", progress=False)
