"""A recipe of two products, the second fine-tuned from the first, copied and run with DVC."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.projects import clone_with_recipes, in_project, make_small, new_project


def test_dvc(tmp_path: Path) -> None:
    clone = clone_with_recipes(tmp_path)
    faces = new_project(clone, "emoji-people", "faces")
    make_small(faces)
    output = in_project(clone, "faces", "python", "-m", "dvc", "repro")
    assert "faces version 1" in output and "faces-twemoji version 1" in output
    parent = json.loads((faces / "models/twemoji/generator.json").read_text())["parent"]
    assert parent["sha256"] == json.loads((faces / "registration/noto/registration.json").read_text())["generators"][0]["sha256"]
