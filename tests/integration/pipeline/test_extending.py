"""docs/extending.md performed: an architecture, a metric and a task of the pages, written as files into a copy of the project."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.support.clone import Clone, make_clone
from tests.support.compiled_yaml import ONE_PRODUCT
from tests.support.small import ROOT

FILES = re.compile(r"```python\n# (atelier/\S+\.py)\n(.*?)```", re.DOTALL)
CHOICE = ["model.task=plain", "model.architecture=linear", "model.linear.gain=2.0"]
WRITTEN = {
    "atelier/networks/linear.py", "atelier/networks/linear_settings.py", "atelier/metrics/kinds/spread.py",
    "atelier/tasks/plain/task.py",
}  # fmt: skip


@pytest.fixture(name="extended", scope="module")
def extended_fixture(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The copy with the files of the pages, which nothing else has to name."""
    clone = make_clone(tmp_path_factory.mktemp("extended"))
    pages = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("extending.md", "metrics.md"))
    found = dict(FILES.findall(pages))
    assert found.keys() == WRITTEN
    for path, code in found.items():
        (clone.folder / path).parent.mkdir(exist_ok=True)
        (clone.folder / path).write_text(code, encoding="utf-8")
    shutil.copytree(ROOT / "pipelines", clone.folder / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "cluster.yaml", clone.folder / "cluster.yaml")
    return clone


def made(model: Path, evaluation: Path) -> None:
    """The generator is what was chosen, and measured as was asked."""
    info = json.loads((model / "generator.json").read_text())
    assert (info["task"], info["product"], info["model"]["architecture"]) == ("plain", "maker", "linear")
    assert info["model"]["linear"] == {"gain": 2.0}
    assert json.loads((evaluation / "metrics.json").read_text())["spread_efficientnet_lite0"] > 0
    assert "Spread of features" in (evaluation / "report.html").read_text()


def test_settings_know_them(extended: Clone) -> None:
    assert "factor before the generator's tanh" in extended.run("python", "-m", "atelier.config", "explain", "model.linear.gain")
    refused = extended.run(
        "python", "-m", "components.train", "--data", "data/base", "--output", "m", "--set", "model.task=plan", fails=True
    )
    assert "plain" in refused and "generation" in refused


def test_with_dvc(extended: Clone) -> None:
    extended.run("python", "-c", EDIT, *CHOICE)
    output = extended.dvc("repro", "register_base")
    made(extended.folder / "models" / "base", extended.folder / "evaluations" / "base")
    assert "digits" in output and "version 1" in output, "registered like all others"


def test_with_kfp_local(extended: Clone) -> None:
    """By a graph that ends with the base generator, which is what the pages add to."""
    alone = extended.folder / "alone"
    alone.mkdir()
    for name in ("params.yaml", "cluster.yaml"):
        shutil.copyfile(extended.folder / name, alone / name)
    (alone / "data").symlink_to(extended.folder / "data")
    (alone / "dvc.yaml").write_text(ONE_PRODUCT, encoding="utf-8")
    extended.run("python", "-m", "pipelines", "run-local", "alone", "--output", "out", *(f"--set={one}" for one in CHOICE))
    (model,) = (extended.folder / "out").glob("**/learn/checkpoint")
    (evaluation,) = (extended.folder / "out").glob("**/measure/evaluation")
    made(model, evaluation)


EDIT = """
import sys
from pathlib import Path
from ruamel.yaml import YAML
yaml, file = YAML(), Path("params.yaml")
values = yaml.load(file)
for one in sys.argv[1:]:
    key, value = one.split("=")
    *path, last = key.split(".")
    place = values
    for part in path:
        place = place.setdefault(part, {})
    place[last] = yaml.load(value)
values["evaluate"]["metrics"].append("spread")
yaml.dump(values, file)
"""
