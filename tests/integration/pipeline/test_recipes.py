"""A recipe copied by `make new` runs in its folder: with DVC, and as a pipeline of Kubeflow on this machine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from tests.support import small_translators as translators
from tests.support.clone import Clone, make_clone
from tests.support.small import ROOT, TRAINING, write_images

SMALL = {"architecture": "mlp", "latent_dim": 4, "mlp": {"hidden": [8]}}
TRANSLATORS = {"sketch": "lines", "icons3d": "icons", "avatars": "characters", "cartoons": "toons"}  # recipes and their copies


@pytest.fixture(name="clone", scope="module")
def clone_fixture(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A checkout in which a project was made of each recipe."""
    clone = make_clone(tmp_path_factory.mktemp("recipes"))
    for name in ("pipelines", "recipes"):
        shutil.copytree(ROOT / name, clone.folder / name, ignore=shutil.ignore_patterns("__pycache__", "images", "data"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (clone.folder / "Makefile").write_text(makefile.replace("new: $(STAMP)", "new:"), encoding="utf-8")
    for recipe, name in {"fashion": "shoes", "emoji-people": "faces", **TRANSLATORS}.items():
        done = subprocess.run(
            ["make", "-s", "new", f"RECIPE={recipe}", f"NAME={name}"], cwd=clone.folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"projects/{name}: cd there")
        small = _small_translator if recipe in TRANSLATORS else _made_small
        small(clone.folder / "projects" / name)
    return clone


def _small_translator(project: Path) -> None:
    """Such a project whose generator is given pictures or label maps: its own networks and losses, of a few channels."""
    yaml, file = YAML(), project / "params.yaml"
    values = yaml.load(file)
    architecture = values["model"]["architecture"]
    values["model"][architecture] |= translators.SMALL[architecture]
    values["train"] |= TRAINING
    values["evaluate"]["samples"] = 16
    for number, one in enumerate(values["data"].values()):
        one |= {"resolution": 32, "holdout": 0.5}
        for field in one.get("fields", {"image": {"from": ""}}).values():
            folder = project / one["path"] / field["from"]
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(64):
                random = np.random.default_rng([number, index, len(field["from"])])
                Image.fromarray(_drawn(random, field.get("classes", {}))).save(folder / f"{index:x}.png")
    yaml.dump(values, file)


def _drawn(random: np.random.Generator, classes: dict[str, str]) -> np.ndarray:
    """Noise, or 4 x 4 cells in the colors of classes."""
    if not classes:
        return random.integers(0, 255, (40, 40, 3), dtype=np.uint8)
    colors = np.array([[*bytes.fromhex(color[1:])] for color in classes.values()], np.uint8)
    return colors[random.integers(0, len(colors), (4, 4))].repeat(10, axis=0).repeat(10, axis=1)


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


@pytest.mark.parametrize(("recipe", "name"), TRANSLATORS.items())
def test_a_project_that_translates(recipe: str, name: str, clone: Clone) -> None:
    output = _in(clone, name, "python", "-m", "dvc", "repro")
    assert re.search(rf"{name}[a-z-]* version 1", output), output
    project = clone.folder / "projects" / name
    (summary,) = (project / "registration").glob("*/summary.json")
    (row,) = json.loads(summary.read_text())
    assert row["generator"].startswith(name)
    (metrics,) = (project / "evaluations").glob("*/metrics.json")
    assert any("frechet" in key for key in json.loads(metrics.read_text()))
    assert "didn't change, skipping" in _in(clone, name, "python", "-m", "dvc", "repro")


def test_label_maps_through_kubeflows_pipeline(clone: Clone) -> None:
    output = clone.run("python", "-m", "pipelines", "run-local", "projects/characters", "--output", "out-maps")
    assert "characters version" in output
    (report,) = (clone.folder / "out-maps").glob("**/evaluate/evaluation/report.html")
    assert "Mean IoU with the label map" in report.read_text(encoding="utf-8")


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
