"""Recipes around trust, each as one `dvc repro` of tiny networks and made images: a detector, and a balanced set with a study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from atelier.data.packed import PackedDataset
from atelier.detection import model
from tests.support.clone import Clone
from tests.support.projects import clone_with_recipes, in_project, make_small, new_project
from tests.support.small import write_images

STUDY = "--images 20 --imbalance 10 --classifiers 1 --steps 120"
SMALL_STUDY = "--images 4 --imbalance 2 --generators 2 --classifiers 1 --steps 4 --validation 4 --ratios 1"
GENERATORS = {"deep": ["model.architecture=mlp_deep"], "sister": ["train.seed=3"]}
DETECT = {"images": 64, "tested": 16, "shown": 64, "generators": GENERATORS, "min_auc_jpeg_75": 0.0, "max_false_positives": 1.0}


@pytest.fixture(name="clone", scope="module")
def clone_fixture(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return clone_with_recipes(tmp_path_factory.mktemp("recipes"))


def own(project: Path, name: str) -> dict[str, object]:
    """Section data of a set, as params.yaml has it."""
    values: dict[str, object] = YAML(typ="safe").load(project / "params.yaml")["data"][name]
    return values


def changed(project: Path, section: str, **values: object) -> None:
    """Writes other values into a section of params.yaml."""
    yaml, file = YAML(), project / "params.yaml"
    found = yaml.load(file)
    found[section] |= values
    yaml.dump(found, file)


def test_a_detector_is_trained_measured_and_registered(clone: Clone) -> None:
    project = new_project(clone, "detector", "watch")
    make_small(project)
    write_images(project / "images/digits", 240, seed=5)
    changed(project, "detect", **DETECT, min_auc=0.0)
    assert "models:/watch/1" in in_project(clone, "watch", "python", "-m", "dvc", "repro")
    loaded = model.load(project / "detector")
    assert sorted(loaded.info.generators) == ["deep", "mlp", "sister"]
    assert json.loads((project / "registration/detector/registration.json").read_text())["uri"] == "models:/watch/1"
    assert "didn't change, skipping" in in_project(clone, "watch", "python", "-m", "dvc", "repro")

    changed(project, "detect", max_false_positives=0.0, false_positives=0.4)
    said = in_project(clone, "watch", "sh", "-c", "python -m dvc repro || echo ended with $?")
    assert "rejected" in said and "so it is not registered" in said and "ended with 255" in said


def test_a_balanced_set_and_its_study(clone: Clone) -> None:
    project = new_project(clone, "balance", "few")
    make_small(project)
    for image in sorted((project / "images/digits/bright").iterdir())[:10]:
        image.unlink()
    changed(project, "evaluate", metrics=["frechet"])
    for name in ("few", "digits"):
        changed(project, "data", **{name: own(project, name) | {"split": "draw", "holdout": 0.2}})
    file = project / "dvc.yaml"
    text = file.read_text(encoding="utf-8")
    assert STUDY in text
    file.write_text(text.replace(STUDY, SMALL_STUDY), encoding="utf-8")
    in_project(clone, "few", "python", "-m", "dvc", "repro")
    few, balanced = (
        PackedDataset(project / f"data/{name}").manifest.splits["train"].class_counts for name in ("few", "balanced")
    )
    assert few[0] != few[1] and balanced == [max(few)] * 2
    assert json.loads((project / "study/study.json").read_text())["protocol"]["images"] == [4]
