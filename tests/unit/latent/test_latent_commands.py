"""`python -m atelier.latent` as its users call it: what is written, and what is refused with a remedy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from atelier.latent import projection
from atelier.latent.__main__ import parser
from tests.support.latent_commands import checkpoint_fixture, maps_fixture, of_maps_fixture
from tests.support.small_models import LATENT

__all__ = ["checkpoint_fixture", "maps_fixture", "of_maps_fixture"]


def run(*arguments: str | Path) -> None:
    args = parser().parse_args(list(map(str, arguments)))
    args.command(args)


@pytest.mark.parametrize(
    ("verb", "options", "images"),
    [
        ("truncate", ["--seeds", "0-2", "--psi", "0", "1"], (3, 2)),
        ("interpolate", ["--seeds", "3", "8", "5", "--steps", "4"], (2, 4)),
        ("mix", ["--rows", "0-1", "--columns", "5", "7", "9", "--class", "two"], (3, 4)),
        ("mix", ["--seeds", "3", "5-6", "--weights", "1", "1", "2", "--weights", "0", "1", "0"], (2, 4)),
    ],
)
def test_tables(verb: str, options: list[str], images: tuple[int, int], checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "folder" / "picture.png"
    run(verb, checkpoint, *options, "--output", output)
    with Image.open(output) as picture:
        assert picture.size == ((images[1] * 29 - 1) * 2, (images[0] * 29 - 1) * 2)
        assert np.asarray(picture).std() > 5


@pytest.mark.parametrize(
    ("verb", "options", "images"),
    [
        ("vary", ["--seeds", "0-2"], (2, 4)),
        ("interpolate", ["--seeds", "3", "8", "5", "--steps", "4"], (4, 5)),
        ("morph", ["--steps", "5"], (2, 5)),
        ("morph", ["--steps", "3", "--seeds", "1", "4-5"], (4, 3)),
    ],
)
def test_tables_of_label_maps(
    verb: str, options: list[str], images: tuple[int, int], of_maps: Path, maps: Path, tmp_path: Path
) -> None:
    """Rows of images, and what they are made of in the colors of its classes: at the left, or of a morph above."""
    output = tmp_path / "picture.png"
    run(verb, of_maps, "--input", maps, *options, "--output", output)
    with Image.open(output) as picture:
        assert picture.size == ((images[1] * 33 - 1) * 2, (images[0] * 33 - 1) * 2)
        pixels = np.asarray(picture)
    cells = [
        [pixels[66 * row : 66 * row + 64, 66 * column : 66 * column + 64] for column in range(images[1])]
        for row in range(images[0])
    ]
    first, last = (cells[0][0], cells[0][-1]) if verb == "morph" else (cells[0][0], cells[-1][0])
    assert first[:, :32].tolist() == np.full((64, 32, 3), (0, 0, 1)).tolist()
    assert first[:, 32:].tolist() == np.full((64, 32, 3), (0, 0, 8)).tolist()
    assert last[:, :32].tolist() == np.full((64, 32, 3), (0, 0, 15)).tolist() and not last[:, 32:].any(), (
        "the class of none is black"
    )
    made = [cell for row in cells[1:] for cell in row] if verb == "morph" else [cell for row in cells for cell in row[1:]]
    assert len({cell.tobytes() for cell in made}) >= len(made) - (verb == "interpolate") * 2, (
        "all differ, but a way begins where one ends"
    )


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_a_walk_is_a_moving_picture(suffix: str, checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / f"walk{suffix}"
    run("walk", checkpoint, "--stops", "2", "--seconds", "0.6", "--rate", "10", "--tiles", "3", "--output", output)
    with Image.open(output) as picture:
        assert getattr(picture, "n_frames", 1) == 6 and picture.info["loop"] == 0
        first = np.asarray(picture.convert("L"), float)
        picture.seek(3)
        assert np.abs(np.asarray(picture.convert("L"), float) - first).mean() > 1


def test_a_projection_says_how_near_it_came(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "TRIED", 64)
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
