"""Every family that translates pictures or label maps, from them to a registered generator.

`make test-families`. A family that a recipe chooses has the recipe's sizes, another one small ones.
"""

from __future__ import annotations

import re

import pytest

from atelier.models.model import load_generator, part_of
from tests.support.clone import Clone
from tests.support.projects import clone_with_recipes, in_project, make_small_translator, new_project
from tests.support.small_translators import RESTORERS, SMALL, TRANSLATORS

RECIPES = {
    "csrnet": "cartoons",
    "cyclegan": "cartoons",
    "cut": "cartoons",
    "pix2pix": "sketch",
    "pix2pixhd": "icons3d",
    "spade": "avatars",
    "oasis": "avatars",
    **dict.fromkeys(RESTORERS, "icons3d"),  # pairs of one side
}
SAID = {  # in the reports of their projects
    "cartoons": "Change of content against the input",
    "sketch": "PSNR in decibels, median",
    "icons3d": "PSNR in decibels, median",
    "avatars": "Mean IoU with the label map",
}
PARTS = {"cartoons": "a_to_b"}  # of the checkpoints of several products
TASKS = {"spade": "paired"}  # where it is not the recipe's
WIDTHS = {
    "cyclegan": SMALL["cyclegan"],
    "cut": {"width": 16, "blocks": 4, "width_discriminator": 16, "layers_discriminator": 2},
    "spade": {"width": 8, "doublings": 3, "width_discriminator": 16, "layers_discriminator": 2, "noise": 16},
    **{family: SMALL[family] for family in RESTORERS},
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = clone_with_recipes(tmp_path_factory.mktemp("translators"))
    for family in TRANSLATORS:
        make_small_translator(new_project(clone, RECIPES[family], family), WIDTHS, {"architecture": family}, TASKS.get(family))
    return clone


@pytest.mark.parametrize("family", TRANSLATORS)
def test_dvc(family: str, clone: Clone) -> None:
    output = in_project(clone, family, "python", "-m", "dvc", "repro")
    assert re.search(rf"{family}[a-z-]* version 1", output), output
    (folder,) = (one for one in (clone.folder / "projects" / family / "models").iterdir() if one.is_dir())
    assert load_generator(part_of(folder, PARTS.get(RECIPES[family], ""))).info.model["architecture"] == family


@pytest.mark.parametrize("family", TRANSLATORS)
def test_kubeflow_pipeline(family: str, clone: Clone) -> None:
    output = clone.run("python", "-m", "pipelines", "run-local", f"projects/{family}", "--output", f"out-{family}")
    assert re.search(rf"{family}[a-z-]* version 1", output), output
    (root,) = clone.folder.glob(f"out-{family}/local-*/atelier-*")
    loaded = load_generator(part_of(root / "train" / "checkpoint", PARTS.get(RECIPES[family], "")))
    assert loaded.info.model["architecture"] == family
    assert SAID[RECIPES[family]] in (root / "evaluate/evaluation/report.html").read_text(encoding="utf-8")
