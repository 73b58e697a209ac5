"""`python -m atelier.latent` as its users call it: what is written, and what is refused with a remedy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from atelier.latent.__main__ import parser
from tests.support.small_models import LATENT, make_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("latent") / "checkpoint", "dcgan")


def run(*arguments: str | Path) -> None:
    args = parser().parse_args(list(map(str, arguments)))
    args.command(args)


def test_the_help_runs_and_names_every_verb() -> None:
    found = subprocess.run([sys.executable, "-m", "atelier.latent", "--help"], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0
    for verb in ("truncate", "interpolate", "mix", "walk", "project"):
        assert f"python -m atelier.latent {verb} " in found.stdout
        assert parser().parse_args([verb, "x", *(["--image", "y"] if verb == "project" else [])]).checkpoint == Path("x")


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
    ("arguments", "remedy"),
    [
        (["truncate", "CHECKPOINT", "--class", "nine"], "choose zéro, one"),
        (["interpolate", "CHECKPOINT", "--seeds", "3"], "two seeds at least"),
        (["mix", "CHECKPOINT", "--parts", "2"], "leave --parts out"),
        (["walk", "CHECKPOINT", "--output", "walk.mp4"], "ends with .gif, .webp, .png"),
        (["project", "CHECKPOINT", "--image", "nowhere.png"], "nowhere.png: cannot be read"),
        (["project", "CHECKPOINT", "--image", __file__], "not an image of a known format"),
        (["project", "CHECKPOINT", "--image", __file__, "--network", "vgg16"], "cannot be read as a picture"),
        (["truncate", "nowhere"], "no generator here"),
    ],
)
def test_errors_are_one_line_with_a_remedy(arguments: list[str], remedy: str, checkpoint: Path, tmp_path: Path) -> None:
    arguments = [str(checkpoint) if one == "CHECKPOINT" else one for one in arguments]
    found = subprocess.run(
        [sys.executable, "-m", "atelier.latent", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[3],
    )
    assert found.returncode == 1 and found.stderr.count("\n") == 1 and remedy in found.stderr, found.stderr


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
