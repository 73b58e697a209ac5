"""The recipes that restore pictures, and their second, fine-tuned generators: by DVC, and as a pipeline on this machine.

`make test-families`.
"""

from __future__ import annotations

import csv
import json

import pytest

from tests.support.clone import Clone
from tests.support.projects import clone_with_recipes, in_project, make_small_restorer, new_project
from tests.support.small_translators import SMALL

PRODUCTS = {"upscale": ("smooth", "sharp"), "textures": ("smooth", "sharp"), "denoise": ("photos", "stars")}
NAMES = {
    "upscale": ("upscale", "upscale-sharp"),
    "textures": ("textures", "textures-sharp"),
    "denoise": ("denoise", "denoise-stars"),
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = clone_with_recipes(tmp_path_factory.mktemp("restorers"))
    for recipe in PRODUCTS:
        make_small_restorer(new_project(clone, recipe, recipe), SMALL)
    return clone


@pytest.mark.parametrize("recipe", PRODUCTS)
def test_dvc(recipe: str, clone: Clone) -> None:
    output = in_project(clone, recipe, "python", "-m", "dvc", "repro")
    for name in NAMES[recipe]:
        assert f"{name} version 1" in output, output
    project, (first, second) = clone.folder / "projects" / recipe, PRODUCTS[recipe]
    parent = json.loads((project / f"models/{second}/generator.json").read_text())["parent"]
    (registered,) = json.loads((project / f"registration/{first}/registration.json").read_text())["generators"]
    assert parent["sha256"] == registered["sha256"]
    for product in (first, second):
        with (project / f"evaluations/{product}/pictures.csv").open(encoding="utf-8") as file:
            assert len([*csv.DictReader(file)]) == 16, "a row for each picture that is measured"
    assert "didn't change, skipping" in in_project(clone, recipe, "python", "-m", "dvc", "repro")


@pytest.mark.parametrize("recipe", PRODUCTS)
def test_kubeflow_pipeline(recipe: str, clone: Clone) -> None:
    output = clone.run("python", "-m", "pipelines", "run-local", f"projects/{recipe}", "--output", f"out-{recipe}")
    for name in NAMES[recipe]:
        assert f"{name} version 1" in output, output
    reports = [*clone.folder.glob(f"out-{recipe}/local-*/atelier-*/evaluate*/evaluation/report.html")]
    assert len(reports) == 2
    assert all("PSNR in decibels, median" in report.read_text(encoding="utf-8") for report in reports)
