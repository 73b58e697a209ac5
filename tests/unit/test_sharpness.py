"""Weights between two checkpoints: each of them at the ends, refused where there is nothing between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from atelier.models.model import GeneratorError, load_generator, read_info, write_info
from atelier.models.sharpness import interpolate
from atelier.training.checkpoint import read_history
from tests.support.small_translators import given, make_checkpoint


def checkpoint(folder: Path, factor: float, family: str = "cyclegan", **changes: Any) -> Path:
    """A checkpoint whose weights are `factor` times those of the others, with other facts."""
    make_checkpoint(folder, family)
    weights = load_file(folder / "generator.safetensors")
    save_file({name: value * factor for name, value in weights.items()}, folder / "generator.safetensors")
    write_info(folder, read_info(folder).model_copy(update=changes))
    return folder


@pytest.fixture(name="pair")
def pair_fixture(tmp_path: Path) -> tuple[Path, Path]:
    """A generator, and one that was fine-tuned twice from it."""
    smooth = checkpoint(tmp_path / "smooth", 1.0)
    between = {"sha256": "b" * 64, "parent": {"sha256": load_generator(smooth).sha256, "parent": None}}
    return smooth, checkpoint(tmp_path / "sharp", 3.0, parent=between, images_seen=1000, metric={"value": 1.0})


@pytest.mark.parametrize(("sharpness", "factor"), [(0.0, 1.0), (0.25, 1.5), (1.0, 3.0)])
def test_weights_lie_between(sharpness: float, factor: float, pair: tuple[Path, Path], tmp_path: Path) -> None:
    interpolate(*pair, sharpness, tmp_path / "between")
    found, smooth, sharp = (load_file(folder / "generator.safetensors") for folder in (tmp_path / "between", *pair))
    assert found.keys() == smooth.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, smooth[name] * factor, rtol=1e-6, atol=0)
        if sharpness in (0, 1):
            assert torch.equal(value, sharp[name] if sharpness else smooth[name])


def test_it_is_a_generator_that_says_what_it_is(pair: tuple[Path, Path], tmp_path: Path) -> None:
    interpolate(*pair, 0.4, tmp_path / "between")
    made, (smooth, sharp) = load_generator(tmp_path / "between"), map(load_generator, pair)
    assert made.info.code == {"interpolated": f"0.4 of the way from {smooth.sha256[:12]} to {sharp.sha256[:12]}"}
    assert made.info.metric == {} and made.info.parent is not None and made.info.parent["sha256"] == sharp.sha256
    assert read_history(tmp_path / "between")["points"] == []
    images = made.generate(given(made.takes))
    assert not torch.equal(images, smooth.generate(given(made.takes)))
    again = tmp_path / "again"
    assert interpolate(*pair, 0.4, again).run_key == made.info.run_key != interpolate(*pair, 0.5, tmp_path / "more").run_key
    assert (again / "generator.safetensors").read_bytes() == (tmp_path / "between" / "generator.safetensors").read_bytes()


def test_what_does_not_belong_together_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    smooth, sharp = pair
    with pytest.raises(GeneratorError, match=r"was not fine-tuned from .*/sharp, and between networks of different starts"):
        interpolate(sharp, smooth, 0.5, tmp_path / "between")
    other = checkpoint(tmp_path / "other", 1.0, "pix2pix")
    with pytest.raises(GeneratorError, match="have not the same model; give the checkpoints of a training"):
        interpolate(other, sharp, 0.5, tmp_path / "between")
    with pytest.raises(GeneratorError, match=r"sharpness 1\.5 is not between"):
        interpolate(smooth, sharp, 1.5, tmp_path / "between")
    published = [checkpoint(tmp_path / f"p{n}", n, code={"published": f"{n}.safetensors"}) for n in (1, 2)]
    assert interpolate(published[0], published[1], 0.5, tmp_path / "between").parent, "whose starts nobody knows"
    assert not (tmp_path / "between" / "networks.safetensors").exists()
