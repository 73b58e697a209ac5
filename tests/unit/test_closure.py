"""What a result depends on: the files that its task and its architecture import, and no stranger's."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from atelier.config.model import ModelSettings, architectures
from atelier.config.section import parse
from atelier.config.settings import load
from atelier.errors import AtelierError
from atelier.io import closure
from atelier.tasks.generation.task import Generation
from atelier.training.run import code_hash
from pipelines import dependencies
from tests.support.small import PARAMS, ROOT

DCGAN, R3GAN = (load(PARAMS, [f"model.architecture={name}"]).model for name in ("dcgan", "r3gan"))
COMMANDS = ("train", "evaluate", "prepare")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the packages whose files the closure reads."""
    unread = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "components", tmp_path / "components", ignore=unread)
    copy = shutil.copytree(closure.ROOT, tmp_path / "atelier", ignore=unread)
    monkeypatch.setattr(closure, "ROOT", copy)
    return copy


def test_a_strangers_files_leave_the_key_of_a_run_alone(tree: Path) -> None:
    before = code_hash(Generation, DCGAN)
    assert code_hash(Generation, DCGAN) == before != code_hash(Generation, R3GAN)
    for name in ("networks/toy.py", "networks/toy_settings.py", "tasks/toy/task.py"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text("TOY = 1\n")
    for name in ("networks/r3gan.py", "networks/sections.py", "config/training.py", "errors.py"):
        with (tree / name).open("a") as file:
            file.write("# mended\n")
    assert code_hash(Generation, DCGAN) == before


@pytest.mark.parametrize(
    "name",
    [
        "networks/dcgan.py",
        "networks/layers.py",
        "losses/penalties.py",
        "tasks/generation/task.py",
        "tasks/adversarial.py",
        "training/trainer.py",
    ],
)
def test_what_computes_is_in_the_key_of_a_run(name: str, tree: Path) -> None:
    before = code_hash(Generation, DCGAN)
    with (tree / name).open("a") as file:
        file.write("# mended\n")
    assert code_hash(Generation, DCGAN) != before


@pytest.mark.parametrize("architecture", architectures())
def test_an_architecture_has_no_other_in_its_closure(architecture: str) -> None:
    command = "python -m components.train --data data/base"
    model = parse({"architecture": architecture, "latent_dim": 64}, ModelSettings, origin="a test")
    listed = dependencies.code(command, model)
    others = {f"atelier/networks/{name}.py" for name in architectures() if name != architecture}
    shared = {"mlp_deep": {"atelier/networks/mlp.py"}}
    assert others & set(listed) == shared.get(architecture, set())
    assert "atelier/networks/${model.architecture}.py" in listed and f"atelier/networks/{architecture}.py" not in listed


def test_what_is_found_by_its_name_is_in_the_closure(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "ROOT", tree)
    (tree / "networks" / "toy.py").write_text("TOY = 1\n")
    (tree / "metrics" / "kinds" / "toy.py").write_text("from atelier.networks import toy\n")
    train, evaluate, prepare = (set(dependencies.code(f"python -m components.{name}", DCGAN)) for name in COMMANDS)
    assert {"atelier/networks/toy.py", "atelier/metrics", "atelier/networks/${model.architecture}.py"} <= train & evaluate
    assert "atelier/tasks/${model.task}" in train & evaluate
    assert not any(path.startswith(("atelier/networks", "atelier/metrics", "atelier/tasks")) for path in prepare)


def test_dvc_yaml_lists_what_its_commands_import() -> None:
    graph = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    listed = {name: list(stage.get("do", stage)["deps"]) for name, stage in graph["stages"].items()}
    expected = dependencies.with_code(graph, load(PARAMS))["stages"]
    wanted = {name: stage.get("do", stage)["deps"] for name, stage in expected.items()}
    assert listed == wanted, "run python -m pipelines.dependencies"


def test_the_command_writes_the_lists_and_leaves_the_rest(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "ROOT", tree)
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    shutil.copyfile(PARAMS, tmp_path / "params.yaml")
    (tmp_path / "dvc.yaml").write_text(text.replace("      - atelier/losses\n", "      - atelier/old.py\n"), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["dependencies", str(tmp_path), "--check"])
    with pytest.raises(AtelierError, match=r"run python -m pipelines\.dependencies"):
        dependencies.main()
    monkeypatch.setattr(sys, "argv", ["dependencies", str(tmp_path)])
    dependencies.main()
    assert (tmp_path / "dvc.yaml").read_text(encoding="utf-8") == text


def test_a_module_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"atelier\.networks\.vae"):
        closure.closure("atelier.networks.vae")
