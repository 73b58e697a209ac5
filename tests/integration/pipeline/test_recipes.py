"""A recipe copied by `make new` runs in its folder: with DVC, and as a pipeline of Kubeflow on this machine."""

from __future__ import annotations

import json
import re

import pytest
from PIL import Image

from tests.support import small_translators as translators
from tests.support.clone import Clone
from tests.support.projects import clone_with_recipes, in_project, make_small, make_small_translator, new_project

TRANSLATORS = {"sketch": "lines", "icons3d": "icons", "avatars": "characters", "cartoons": "toons"}  # recipes and their copies
SAID = {  # in the reports of these
    "lines": "PSNR in decibels, median",
    "icons": "PSNR in decibels, median",
    "characters": "Mean IoU with the label map",
    "toons": "Change of content against the input",
}


@pytest.fixture(name="clone", scope="module")
def clone_fixture(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A checkout in which a project was made of each recipe."""
    clone = clone_with_recipes(tmp_path_factory.mktemp("recipes"))
    for recipe, name in {"fashion": "shoes", "emoji-people": "faces"}.items():
        make_small(new_project(clone, recipe, name))
    for recipe, name in TRANSLATORS.items():
        project = new_project(clone, recipe, name)
        make_small_translator(project, translators.SMALL)
    return clone


def test_a_project_of_one_product(clone: Clone) -> None:
    output = in_project(clone, "shoes", "python", "-m", "dvc", "repro")
    assert "shoes version 1" in output
    (row,) = json.loads((clone.folder / "projects/shoes/registration/clothes/summary.json").read_text())
    assert (row["generator"], row["measured_on"]) == ("shoes", "fashion images (folder)")
    assert "didn't change, skipping" in in_project(clone, "shoes", "python", "-m", "dvc", "repro")
    assert not (clone.folder / "mlflow.db").exists(), "its runs are in its own folder"


def test_a_project_of_two(clone: Clone) -> None:
    output = in_project(clone, "faces", "python", "-m", "dvc", "repro")
    assert "faces version 1" in output and "faces-twemoji version 1" in output
    faces = clone.folder / "projects/faces"
    parent = json.loads((faces / "models/twemoji/generator.json").read_text())["parent"]
    assert parent["sha256"] == json.loads((faces / "registration/noto/registration.json").read_text())["generators"][0]["sha256"]


@pytest.mark.parametrize(("recipe", "name"), TRANSLATORS.items())
def test_a_project_that_translates(recipe: str, name: str, clone: Clone) -> None:
    output = in_project(clone, name, "python", "-m", "dvc", "repro")
    assert re.search(rf"{name}[a-z-]* version 1", output), output
    project = clone.folder / "projects" / name
    (summary,) = (project / "registration").glob("*/summary.json")
    (row,) = json.loads(summary.read_text())
    assert row["generator"].startswith(name)
    (metrics,) = (project / "evaluations").glob("*/metrics.json")
    assert any("frechet" in key for key in json.loads(metrics.read_text()))
    assert "didn't change, skipping" in in_project(clone, name, "python", "-m", "dvc", "repro")


@pytest.mark.parametrize(("name", "said"), SAID.items())
def test_translators_through_kubeflows_pipeline(name: str, said: str, clone: Clone) -> None:
    output = clone.run("python", "-m", "pipelines", "run-local", f"projects/{name}", "--output", f"out-{name}")
    assert re.search(rf"{name}[a-z-]* version", output), output
    (report,) = (clone.folder / f"out-{name}").glob("**/evaluate/evaluation/report.html")
    assert said in report.read_text(encoding="utf-8")


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
