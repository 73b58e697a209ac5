"""`python -m atelier.latent` as its users call it: what is written, and what is refused with a remedy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from atelier.latent.__main__ import parser
from tests.support.latent_commands import checkpoint_fixture
from tests.support.small import ROOT

__all__ = ["checkpoint_fixture"]


def test_the_help_runs_and_names_every_verb() -> None:
    found = subprocess.run([sys.executable, "-m", "atelier.latent", "--help"], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0
    for verb in ("truncate", "interpolate", "mix", "walk", "project"):
        assert f"python -m atelier.latent {verb} " in found.stdout
        assert parser().parse_args([verb, "x", *(["--image", "y"] if verb == "project" else [])]).checkpoint == Path("x")


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
        cwd=ROOT,
    )
    assert found.returncode == 1 and found.stderr.count("\n") == 1 and remedy in found.stderr, found.stderr
