"""A recipe copied by `make new` runs in its folder: with DVC, and as a pipeline of Kubeflow on this machine.

One of each kind; all that translate, and recipes of two products: `make test-families`.
"""

from __future__ import annotations

import json
import re

import pytest
from PIL import Image

from tests.support import small_translators as translators
from tests.support.clone import Clone
from tests.support.projects import clone_with_recipes, in_project, make_small, make_small_translator, new_project


@pytest.fixture(name="clone", scope="module")
def clone_fixture(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A checkout with a project of each kind."""
    clone = clone_with_recipes(tmp_path_factory.mktemp("recipes"))
    make_small(new_project(clone, "fashion", "shoes"))
    for recipe, name in {"sketch": "lines", "cartoons": "toons"}.items():
        make_small_translator(new_project(clone, recipe, name), translators.SMALL)
    return clone


def test_a_project_of_one_product(clone: Clone) -> None:
    output = in_project(clone, "shoes", "python", "-m", "dvc", "repro")
    assert "shoes version 1" in output
    (row,) = json.loads((clone.folder / "projects/shoes/registration/clothes/summary.json").read_text())
    assert (row["generator"], row["measured_on"]) == ("shoes", "fashion images (folder)")
    assert "didn't change, skipping" in in_project(clone, "shoes", "python", "-m", "dvc", "repro")
    assert not (clone.folder / "mlflow.db").exists(), "its runs are in its own folder"


def test_a_project_that_translates(clone: Clone) -> None:
    """From two sets, one of whose directions is registered."""
    output = in_project(clone, "toons", "python", "-m", "dvc", "repro")
    assert re.search(r"toons[a-z-]* version 1", output), output
    project = clone.folder / "projects/toons"
    (summary,) = (project / "registration").glob("*/summary.json")
    (row,) = json.loads(summary.read_text())
    assert row["generator"].startswith("toons")
    (metrics,) = (project / "evaluations").glob("*/metrics.json")
    assert any("frechet" in key for key in json.loads(metrics.read_text()))
    assert "didn't change, skipping" in in_project(clone, "toons", "python", "-m", "dvc", "repro")


def test_as_a_pipeline_from_the_repository(clone: Clone) -> None:
    output = clone.run("python", "-m", "pipelines", "run-local", "projects/lines", "--output", "out", "--set", "train.seed=1")
    assert re.search(r"lines[a-z-]* version", output) and "`train.seed` | 1 | 0" in output, output
    (report,) = (clone.folder / "out").glob("**/evaluate/evaluation/report.html")
    assert "PSNR in decibels, median" in report.read_text(encoding="utf-8")


def test_in_python(clone: Clone) -> None:
    made = "from atelier import Project; made = Project.load('projects/shoes'); print([*made.prepare()]); made.train()"
    assert "['fashion']" in clone.run("python", "-c", f"{made}; made.sample(4).save('s.png')")
    assert Image.open(clone.folder / "s.png").size[0] > 50


def test_the_digits_do_not_ask_for_recipes(clone: Clone) -> None:
    assert not any("recipes" in name for name in clone.dvc_json("status"))
