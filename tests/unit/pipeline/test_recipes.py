"""Every recipe is a whole project: valid settings, stages that depend on their code, and a pipeline of Kubeflow."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from atelier.config.section import parse
from pipelines import dependencies, form, runners
from pipelines.cluster import Cluster
from pipelines.project import ProjectSettings, load
from tests.support.compiled_yaml import outline, read
from tests.support.small import ROOT

RECIPES = sorted(path.parent.name for path in (ROOT / "recipes").glob("*/params.yaml"))
GRAPHS = Path(__file__).parent / "graphs"


@pytest.fixture(params=RECIPES, name="recipe")
def recipe_fixture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a recipe, entered."""
    folder: Path = ROOT / "recipes" / request.param
    monkeypatch.chdir(folder)
    return folder


def test_its_stages_list_what_their_commands_import(recipe: Path) -> None:
    graph = YAML(typ="safe").load((recipe / "dvc.yaml").read_text(encoding="utf-8"))
    listed = {name: list(stage.get("do", stage)["deps"]) for name, stage in graph["stages"].items()}
    expected = dependencies.with_code(graph, load(), recipe)["stages"]
    wanted = {name: stage.get("do", stage)["deps"] for name, stage in expected.items()}
    assert listed == wanted, f"run python -m pipelines.dependencies recipes/{recipe.name}"
    assert any(path.startswith("../../atelier/") for path in listed["train"])


def test_it_is_a_pipeline_of_kubeflow(recipe: Path) -> None:
    project = load()
    tasks = read(runners.compiled(Cluster(), project))
    assert outline(tasks) == (GRAPHS / f"{recipe.name}.txt").read_text(encoding="utf-8"), "python -m tests.support.compiled_yaml"
    registered = {name for name, task in tasks.items() if "components.register:register" in task.container["command"]}
    assert len(registered) == len(project.products)
    assert form.filled(project, project)["overrides"] == {}
    (text,) = [word.removeprefix("--project=") for word in tasks["check"].container["command"] if word.startswith("--project=")]
    told = parse(YAML(typ="safe").load(text), ProjectSettings, origin="the check")  # which is told no defaults
    assert told.plain() == {**project.plain(), "cluster": project.cluster.model_dump(mode="json") | {"form": []}}


def test_it_tells_what_it_is(recipe: Path) -> None:
    page = (recipe / "README.md").read_text(encoding="utf-8")
    pictures = [path for path in recipe.glob("*.png") if f"({path.name})" in page]
    assert pictures and "python get_images.py" in page
    assert f"recipes/{recipe.name}/README.md" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_name_is_what_a_copy_replaces(recipe: Path) -> None:
    """`make new` puts the name of the project in its place."""
    project = load()
    names = [project.registry.experiment, *(product.name for product in project.products.values())]
    assert all(name.startswith(recipe.name) for name in names)
