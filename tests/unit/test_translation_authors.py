"""benchmarks.translation_authors: what the authors' trainers are given."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from atelier.errors import AtelierError
from atelier.networks.layers import ImageShape
from benchmarks.translation import COMPARED, settings_of
from benchmarks.translation_authors import AuthorsLoop


def loop(name: str, checkouts: Path, first: Any = None, second: Any = None) -> AuthorsLoop:
    """A trainer in a folder that has nothing but the names of programs."""
    for repository in ("pytorch-CycleGAN-and-pix2pix", "contrastive-unpaired-translation"):
        (checkouts / repository).mkdir(exist_ok=True)
        (checkouts / repository / "train.py").touch()
    given, made = first or pictures(3), second or pictures(3)
    return AuthorsLoop(settings_of(name, COMPARED[name].published), given, made, name == "pix2pix", checkouts)


def pictures(channels: int) -> Any:
    """Two random ones of 32 px, and their shape."""
    pixels = np.random.default_rng(channels).integers(256, size=(2, 32, 32, channels), dtype=np.uint8).squeeze()
    return SimpleNamespace(pixels=pixels, shape=ImageShape(32, channels, 0))


def options(name: str, tmp_path: Path) -> dict[str, str]:
    """Those with values."""
    told = loop(name, tmp_path)._options(tmp_path)[2:]
    return dict(zip(told[::2], told[1::2], strict=True))


def test_folder_without_their_code_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(AtelierError, match=r"contrastive-unpaired-translation/train\.py is missing: --authors names"):
        settings = settings_of("fastcut", {})
        AuthorsLoop(settings, cast(Any, None), cast(Any, None), False, tmp_path)


def test_pairs_lie_side_by_side(tmp_path: Path) -> None:
    lines, colors = pictures(1), pictures(3)
    loop("pix2pix", tmp_path, lines, colors)._lay_out(tmp_path / "pictures")
    second = np.asarray(Image.open(tmp_path / "pictures" / "train" / "00001.png"))
    assert (second[:, :32] == lines.pixels[1][..., None]).all()
    assert (second[:, 32:] == colors.pixels[1]).all()


def test_weights_are_in_their_terms(tmp_path: Path) -> None:
    cycle = options("cyclegan", tmp_path)
    assert (cycle["--lambda_A"], cycle["--lambda_identity"], cycle["--netG"]) == ("10.0", "0.5", "resnet_6blocks")
    assert (cycle["--pool_size"], cycle["--batch_size"], cycle["--ngf"], cycle["--n_layers_D"]) == ("50", "4", "16", "2")


def test_layers_of_patches_are_those_that_are_named(tmp_path: Path) -> None:
    assert options("fastcut", tmp_path)["--nce_layers"] == "0,4,8,12,15"
