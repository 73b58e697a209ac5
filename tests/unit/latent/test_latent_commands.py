"""`python -m atelier.latent` as its users call it: what is written, and what is refused with a remedy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from atelier.latent.__main__ import parser
from tests.support.latent_commands import checkpoint_fixture
from tests.support.small_models import LATENT

__all__ = ["checkpoint_fixture"]


def run(*arguments: str | Path) -> None:
    args = parser().parse_args(list(map(str, arguments)))
    args.command(args)


@pytest.mark.parametrize(
    ("verb", "options", "images"),
    [
        ("truncate", ["--seeds", "0-2", "--psi", "0", "1"], (3, 2)),
        ("interpolate", ["--seeds", "3", "8", "5", "--steps", "4"], (2, 4)),
        ("mix", ["--rows", "0-1", "--columns", "5", "7", "9", "--class", "two"], (3, 4)),
    ],
)
def test_tables(verb: str, options: list[str], images: tuple[int, int], checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "folder" / "picture.png"
    run(verb, checkpoint, *options, "--output", output)
    with Image.open(output) as picture:
        assert picture.size == ((images[1] * 29 - 1) * 2, (images[0] * 29 - 1) * 2)
        assert np.asarray(picture).std() > 5


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_a_walk_is_a_moving_picture(suffix: str, checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / f"walk{suffix}"
    run("walk", checkpoint, "--stops", "2", "--seconds", "0.6", "--rate", "10", "--tiles", "3", "--output", output)
    with Image.open(output) as picture:
        assert getattr(picture, "n_frames", 1) == 6 and picture.info["loop"] == 0
        first = np.asarray(picture.convert("L"), float)
        picture.seek(3)
        assert np.abs(np.asarray(picture.convert("L"), float) - first).mean() > 1


def test_a_projection_says_how_near_it_came(checkpoint: Path, tmp_path: Path) -> None:
    image = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 40, 3), dtype=np.uint8)).save(image)
    run("project", checkpoint, "--image", image, "--steps", "4", "--class", "three", "--output", tmp_path / "projection")
    about = json.loads((tmp_path / "projection" / "projection.json").read_text())
    assert (about["class"], about["image"], about["steps"], len(about["latent"])) == ("three", "photo.jpg", 4, LATENT)
    assert about["distance"] > 0 and about["pixels_rms"] > 0
    assert load_file(tmp_path / "projection" / "code.safetensors")["code"].shape == (1, LATENT)
    with Image.open(tmp_path / "projection" / "picture.png") as picture:
        assert picture.size == ((2 * 29 - 1) * 4, 28 * 4)


@pytest.mark.parametrize(
    "options",
    [
        ["--seeds", "9-3"],
        ["--seeds", str(2**63)],
        ["--seeds", f"0-{2**64}"],
        ["--seeds", "x"],
        ["--psi", "1.5"],
        ["--psi", "much"],
    ],
)
def test_wrong_options(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["truncate", "x", *options])
    assert options[1] in capsys.readouterr().err
