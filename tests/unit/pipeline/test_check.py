"""The first task of a run of Kubeflow: it merges, validates, and gives each task what its command line would read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from atelier.config.section import SettingsError
from pipelines import check, dag, form, steps
from pipelines.project import load
from pipelines.task import Bound
from tests.support.compiled_yaml import compiled, project_folder
from tests.support.floated import floated
from tests.support.small import PARAMS

PROJECT = load(PARAMS)
GRAPH = dag.graph(dag.Cluster(), PROJECT, PARAMS.with_name("dvc.yaml"))
HANDED = dag.handed(GRAPH)
Outputs = dict[str, Any]
Handed = Mapping[str, Mapping[str, str]]


@pytest.fixture(autouse=True)
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run needs besides settings is there."""
    monkeypatch.setattr(steps, "try_mlflow", lambda _: None)
    monkeypatch.setattr(steps, "_try_states", lambda _: None)
    monkeypatch.setattr(steps, "try_rights", lambda: None)


def execute(folder: Path, *overrides: str, handed: Handed = HANDED) -> Outputs:
    """What the task gives for a form that is filled by `overrides`; its page is in folder/page."""
    return run(folder, form.filled(load(PARAMS, list(overrides)), PROJECT), handed)


def run(folder: Path, filled: Outputs, handed: Handed = HANDED) -> Outputs:
    page = {"settings": dsl.Markdown(uri=str(folder / "page"))}
    return check.Check(PROJECT, handed, trials=2).execute({**floated(filled), **page})


@pytest.mark.parametrize(
    "overrides", [[], ["train.nodes=2", "cluster.states=s3://bucket/states", "train.seed=7", "train.beta1=0.5"]]
)
def test_each_task_gets_what_its_command_line_would_read(overrides: list[str], tmp_path: Path) -> None:
    outputs, wanted = floated(execute(tmp_path, *overrides)), load(PARAMS, overrides)
    assert {*outputs} == {*HANDED}
    for name, task in GRAPH.items():
        bound = Bound(task.component, task.step, task.section)
        (output,) = [output for output, readings in HANDED.items() if readings == bound.readings]
        found = bound._settings({"settings": outputs[output]})
        found.pop("cluster", None)
        expected = task.component.settings(wanted.named(), task.section)
        assert {key: repr(value) for key, value in found.items()} == {key: repr(value) for key, value in expected.items()}, name


def test_a_training_by_itself_knows_of_its_machines_where_it_keeps_its_states(tmp_path: Path) -> None:
    """Else Kubeflow, which compares inputs, would train again on a machine with more memory."""
    alone = execute(tmp_path, "cluster.memory=16Gi", "cluster.states=s3://bucket/states")["settings_train"]["cluster"]
    assert alone == {"states": "s3://bucket/states"}
    nodes = execute(tmp_path, "cluster.memory=16Gi", "cluster.states=s3://bucket/states", "finetune.nodes=2")
    several = nodes["settings_train"]["cluster"]
    assert several["memory"] == "16Gi" and several["tolerations"] == PROJECT.cluster.tolerations and "form" not in several


def test_its_page_shows_what_the_run_differs_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    execute(tmp_path)
    assert "All values are those of the project." in (tmp_path / "page").read_text()
    capsys.readouterr()
    execute(tmp_path, "train.seed=7", "finetune.regularizers={r1: 2.0}", "model.architecture=mlp", "model.mlp.hidden=[8]")
    shown = (tmp_path / "page").read_text()
    head, _, whole = shown.partition("\n## All of them\n")
    rows = [line for line in head.splitlines() if line.startswith("| `")]
    assert rows == [
        '| `model.architecture` | "mlp" | "dcgan" |',
        '| `model.mlp` | {"hidden": [8]} | not set |',
        "| `train.seed` | 7 | 0 |",
        '| `finetune.regularizers` | {"r1": 2.0} | {"r1": 1.0, "r2": 1.0} |',
    ]
    assert "  seed: 7\n" in whole and "  hidden:\n" in whole
    printed = capsys.readouterr().out
    assert all(row in printed for row in rows) and "All of them" not in printed


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"train_images": 0}, "the run's parameters: train.images"),
        ({"data_base_source": "kaggle"}, "data.base.source"),
        ({"overrides": {"data.target.channels": 3}}, "data.target.channels is 3 but data.base.channels is 1"),
        ({"overrides": {"train.sed": 1}}, "train.sed: unknown key; did you mean seed?"),
        ({"overrides": {"cluster.secret": "x"}}, "overrides: cluster.secret is compiled into the pipeline"),
        ({"overrides": {"train.nodes": 2}}, "set cluster.states to an s3:// prefix, or train.nodes to 1"),
        ({"overrides": {"finetune.nodes": 2}}, "set cluster.states to an s3:// prefix, or finetune.nodes to 1"),
        ({"sweep_trials": [{"train.seed": 0}] * 3}, "sweep_trials: 3 trials, and 2 fit into a run of this pipeline; try fewer"),
        ({"sweep_trials": [{"train.sed": 0}]}, "the trial: train.sed: unknown key"),
        ({"sweep_trials": [{"finetune.seed": 0}]}, "trial finetune.seed: no such key; a sweep varies what is in model and train"),
    ],
)
def test_it_refuses_what_no_single_step_could(
    changed: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(tmp_path, {**form.filled(PROJECT, PROJECT), **changed})
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and said in error
    assert not (tmp_path / "page").exists()


def test_a_task_whose_section_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        execute(tmp_path, handed={"settings_third": {"settings": "data.third"}})
    assert "error: data.third: params.yaml has no such section, but data.base, data.target; " in capsys.readouterr().err


def as_a_container(folder: Path, command: list[str], inputs: dict[str, Any]) -> Outputs:
    """What the command of the task's container gives, run as Kubeflow's launcher runs it."""
    names = {"settings_data_base", "settings_train", "settings_evaluate"}
    outputs = {name: {"outputFile": str(folder / name)} for name in names}
    made = {
        name: {"artifacts": [{"name": name, "type": {"schemaTitle": kind}, "uri": str(folder / name), "metadata": {}}]}
        for name, kind in (("settings", "system.Markdown"), ("settings_register", "system.Artifact"))
    }
    told = {
        "inputs": {"parameterValues": inputs},
        "outputs": {"parameters": outputs, "artifacts": made, "outputFile": str(folder / "outputs.json")},
    }
    check.main([*command[command.index("pipelines.check") + 1 :], "--executor_input", json.dumps(told)])
    found: Outputs = json.loads((folder / "outputs.json").read_text())["parameterValues"]
    return found


def test_a_project_without_finetuning_is_checked_in_its_container(tmp_path: Path) -> None:
    folder = project_folder(tmp_path, finetuned=False)
    project = load(folder / "params.yaml")
    task = compiled(dag.Cluster(), folder)["check"]
    filled = form.filled(load(folder / "params.yaml", ["train.seed=7", "train.beta1=0.5"]), project)
    found = as_a_container(tmp_path, task.container["command"], floated(filled))
    assert {*found} == {*task.component["outputDefinitions"]["parameters"]}
    train = found["settings_train"]
    assert train["experiment"] == "atelier" and train["settings"]["beta1"] == 0.5
    assert train["settings"]["seed"] == 7 and isinstance(train["settings"]["seed"], int)
    everything = json.loads((tmp_path / "settings_register").read_text())["settings"]
    assert "finetune" not in everything and {*everything["data"]} == {"base"}
    assert (tmp_path / "settings").read_text().startswith("# Settings of this run\n")


def test_a_file_of_all_settings_is_read_by_who_registers(tmp_path: Path) -> None:
    outputs = execute(tmp_path, "train.seed=7")["settings_register"]
    (tmp_path / "all").write_text(json.dumps(outputs))
    found = dag.bound(GRAPH["register_base"])._settings({"settings": dsl.Artifact(uri=str(tmp_path / "all"))})
    wanted = GRAPH["register_base"].component.settings(load(PARAMS, ["train.seed=7"]).named(), "")
    assert {key: repr(value) for key, value in found.items()} == {key: repr(value) for key, value in wanted.items()}


def test_a_trial_of_a_sweep_is_in_the_place_of_the_values_of_the_run(tmp_path: Path) -> None:
    outputs = floated(execute(tmp_path, "train.seed=7"))
    bound = dag.bound(GRAPH["train"])
    arrived = {"settings": outputs["settings_train"]}
    trial = floated({"train.seed": 3, "model.dcgan.width": 8})
    found = bound._settings({**arrived, "trial": trial})
    assert (found["settings"].seed, found["model"].family.width) == (3, 8)
    assert found["settings"].model_copy(update={"seed": 7}) == load(PARAMS, ["train.seed=7"]).train
    with pytest.raises(SettingsError, match=r"the trial: train\.sed: unknown key"):
        bound._settings({**arrived, "trial": {"train.sed": 3}})
