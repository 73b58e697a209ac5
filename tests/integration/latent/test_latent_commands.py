"""`python -m atelier.latent` as its users call it: what is written, and what is refused with a remedy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from atelier.latent.__main__ import main, parser
from tests.support import small_translators
from tests.support.commands import exit_code
from tests.support.latent_commands import checkpoint_fixture, maps_fixture, of_maps_fixture

__all__ = ["checkpoint_fixture", "maps_fixture", "of_maps_fixture"]


def test_the_help_runs_and_names_every_verb() -> None:
    found = subprocess.run([sys.executable, "-m", "atelier.latent", "--help"], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0
    needed = {"project": ["--image", "y"], "vary": ["--input", "y"], "morph": ["--input", "y", "z"], "explore": ["--data", "y"]}
    needed["edit"] = ["--directions", "y", "--move", "slant=-1"]
    verbs = ("truncate", "interpolate", "mix", "walk", "project", "vary", "morph", "breed", "directions", "edit", "explore")
    for verb in verbs:
        assert f"python -m atelier.latent {verb} " in found.stdout
        assert parser().parse_args([verb, "x", *needed.get(verb, [])]).checkpoint == Path("x")


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
        (
            ["truncate", "OF_MAPS"],
            "takes noise, map, and not noise with at most a class; `python -m atelier.latent --help` names",
        ),
        (["vary", "CHECKPOINT", "--input", "MAPS"], "takes noise, label, and nothing that --input gives; truncate, interpolate"),
        (["vary", "OF_MAPS", "--input", "nowhere"], "nowhere: no pictures there; give a file, or a folder"),
        (["vary", "OF_MAPS", "--input", __file__], "cannot be read as a label map (not an image of a known format"),
        (["vary", "OF_PICTURES", "--input", "MAPS"], "takes image, and no noise, so that it makes one image of each (python -m"),
        (["interpolate", "OF_MAPS", "--input", "MAPS", "--class", "sky"], "--class sky: what --input gives has no class; leave"),
        (["morph", "OF_MAPS", "--input", "MAPS/0.png"], "give two label maps at least"),
        (["morph", "OF_PICTURES", "--input", "MAPS"], "takes pictures, and label maps alone have something between them; trans"),
        (["morph", "OF_PICTURES", "--input", "MAPS", "--seeds", "3"], "takes image, and no noise that they could draw; leave"),
    ],
)
def test_errors_are_one_line_with_a_remedy(
    arguments: list[str],
    remedy: str,
    checkpoint: Path,
    of_maps: Path,
    maps: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"CHECKPOINT": checkpoint, "OF_MAPS": of_maps, "MAPS": maps, "MAPS/0.png": maps / "0.png"}
    if "OF_PICTURES" in arguments:
        places["OF_PICTURES"] = small_translators.make_checkpoint(tmp_path / "pictures", "cut")
    arguments = [str(places.get(one, one)) for one in arguments]
    code = exit_code(main, "atelier.latent", *arguments)
    told = capsys.readouterr().err
    assert code == 1 and told.count("\n") == 1 and remedy in told, told
