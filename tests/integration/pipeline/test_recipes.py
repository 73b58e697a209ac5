"""A recipe copied by `make new` runs in its folder: with DVC, and as a pipeline of Kubeflow on this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from tests.support.clone import Clone, make_clone
from tests.support.small import ROOT, TRAINING, write_images

SMALL = {"architecture": "mlp", "latent_dim": 4, "mlp": {"hidden": [8]}}


@pytest.fixture(name="clone", scope="module")
def clone_fixture(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A checkout in which a project was made of each recipe."""
    clone = make_clone(tmp_path_factory.mktemp("recipes"))
    for name in ("pipelines", "recipes"):
        shutil.copytree(ROOT / name, clone.folder / name, ignore=shutil.ignore_patterns("__pycache__", "images", "data"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (clone.folder / "Makefile").write_text(makefile.replace("new: $(STAMP)", "new:"), encoding="utf-8")
    for recipe, name in (("fashion", "shoes"), ("emoji-people", "faces")):
        done = subprocess.run(
            ["make", "-s", "new", f"RECIPE={recipe}", f"NAME={name}"], cwd=clone.folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"projects/{name}: cd there")
        _made_small(clone.folder / "projects" / name)
    return clone


def _made_small(project: Path) -> None:
    """Networks of a few neurons and a few steps, on made images."""
    yaml, file = YAML(), project / "params.yaml"
    values = yaml.load(file)
    del values["model"][values["model"]["architecture"]]
    values["model"] |= SMALL
    values["model"]["conditioning"] = "projection"
    for section in ("train", "finetune"):
        if section in values:
            values[section] |= TRAINING | {"regularizers": {"r1": 1.0}, "augment": "none"}
    values["evaluate"] |= {"metrics": ["frechet", "kernel"], "samples": 16, "max_distance": 1e6}
    values["gate"] |= {"min_coverage": 0.0, "min_recall": 0.0, "min_class_share": 0.0, "max_memorised": 1.0}
    for number, one in enumerate(values["data"].values()):
        one["source"] = "folder"
        folder = project / one["path"]
        if one["labels"]:
            write_images(folder, 48, seed=number)
            continue
        folder.mkdir(parents=True)
        for index in range(40):
            pixels = np.random.default_rng([number, index]).integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    yaml.dump(values, file)


def _in(clone: Clone, project: str, *command: str) -> str:
    return Clone(clone.folder / "projects" / project, clone.folder).run(*command)


def test_a_project_of_one_product(clone: Clone) -> None:
    output = _in(clone, "shoes", "python", "-m", "dvc", "repro")
    assert "shoes version 1" in output
    (row,) = json.loads((clone.folder / "projects/shoes/registration/clothes/summary.json").read_text())
    assert (row["generator"], row["measured_on"]) == ("shoes", "fashion images (folder)")
    assert "didn't change, skipping" in _in(clone, "shoes", "python", "-m", "dvc", "repro")
    assert not (clone.folder / "mlflow.db").exists(), "its runs are in its own folder"


def test_a_project_of_two(clone: Clone) -> None:
    output = _in(clone, "faces", "python", "-m", "dvc", "repro")
    assert "faces version 1" in output and "faces-twemoji version 1" in output
    faces = clone.folder / "projects/faces"
    parent = json.loads((faces / "models/twemoji/generator.json").read_text())["parent"]
    assert parent["sha256"] == json.loads((faces / "registration/noto/registration.json").read_text())["generators"][0]["sha256"]


def test_as_a_pipeline_from_the_repository(clone: Clone) -> None:
    output = clone.run("python", "-m", "pipelines", "run-local", "projects/shoes", "--output", "out", "--set", "train.seed=1")
    assert "shoes version" in output and "`train.seed` | 1 | 0" in output
    assert list((clone.folder / "out").glob("**/evaluate/evaluation/report.html"))


def test_in_python(clone: Clone) -> None:
    made = "from atelier import Project; made = Project.load('projects/shoes'); print([*made.prepare()]); made.train()"
    assert "['fashion']" in clone.run("python", "-c", f"{made}; made.sample(4).save('s.png')")
    assert Image.open(clone.folder / "s.png").size[0] > 50


def test_the_digits_do_not_ask_for_recipes(clone: Clone) -> None:
    assert not any("recipes" in name for name in clone.dvc_json("status"))
