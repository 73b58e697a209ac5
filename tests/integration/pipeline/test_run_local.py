"""The whole pipeline of Kubeflow as processes on this machine, on very small data."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import Run as MlflowRun

from atelier.models.model import load_generator
from tests.support.small import run_local, write_params

STAGES = {
    "prepare_base",
    "train",
    "evaluate_base",
    "prepare_target",
    "finetune",
    "evaluate_finetuned",
    "register_base",
    "register_finetuned",
}


@dataclass(frozen=True)
class Run:
    """A run of `python -m pipelines run-local` and the folder that holds a folder for each task."""

    done: subprocess.CompletedProcess[str]
    workspace: Path

    @property
    def tasks(self) -> Path:
        (root,) = self.workspace.glob("pipeline-runs/local-*/atelier-*")
        return root


@pytest.fixture(scope="module")
def run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    workspace = tmp_path_factory.mktemp("it's mine & yours (ü, no. 1 [a] $x)")
    write_params(workspace / "params.yaml", images)
    return started(workspace, "--set", "finetune.images=40", "--set", "train.beta1=0.25")


def started(workspace: Path, *arguments: str) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Run(run_local(workspace, *arguments), workspace)


def test_it_ends_with_the_table(run: Run) -> None:
    assert run.done.returncode == 0, run.done.stdout[-3000:] + run.done.stderr[-3000:]
    table = run.done.stdout[run.done.stdout.rindex("Registered generators") :]
    for word in ("digits-finetuned", "version 1", "champion", "efficientnet_lite0", "report.html"):
        assert word in table


def test_every_task_left_its_outputs(run: Run) -> None:
    expected = {
        "check": "settings",
        "prepare-base": "images/manifest.json",
        "prepare-target": "images/manifest.json",
        "train": "checkpoint/generator.safetensors",
        "finetune": "checkpoint/generator.safetensors",
        "evaluate-base": "evaluation/metrics.json",
        "evaluate-finetuned": "evaluation/baseline.json",
        "register-base": "registration/registration.json",
        "register-finetuned": "registration/registration.json",
    }
    for task, file in expected.items():
        assert (run.tasks / task / file).stat().st_size, task
    for task in ("evaluate-base", "evaluate-finetuned"):
        assert (run.tasks / task / "report").read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html")
        page = (run.tasks / task / "samples").read_text(encoding="utf-8")
        assert "data:image/png;base64," in page and "<script" not in page and "://" not in page
    assert (run.tasks / "register-base" / "summary").read_text(encoding="utf-8").startswith("# Registered generators")
    assert (run.tasks / "finish" / "summary").read_text(encoding="utf-8").startswith("# The pipeline ended: done")


def test_each_step_was_given_its_own(run: Run) -> None:
    """What the graph says about names, the functions behind it keep: no generator, evaluation or data set is another's."""
    client = mlflow.MlflowClient(f"sqlite:///{run.workspace}/mlflow.db")
    experiment = client.get_experiment_by_name("atelier")
    assert experiment
    tags = {one.data.tags.get("atelier.step"): one.data.tags for one in client.search_runs([experiment.experiment_id])}
    for step, generator, images in (
        ("evaluate_base", "train", "prepare-base"),
        ("evaluate_finetuned", "finetune", "prepare-target"),
    ):
        assert tags[step]["atelier.generator_sha256"] == load_generator(run.tasks / generator / "checkpoint").sha256
        packed = json.loads((run.tasks / images / "images" / "manifest.json").read_text())
        assert tags[step]["atelier.data_hash"] == packed["content_hash"]
    tables = [
        json.loads((run.tasks / f"register-{name}/registration/summary.json").read_text()) for name in ("base", "finetuned")
    ]
    assert [(line["generator"], line["report"].split("/")[-3]) for table in tables for line in table] == [
        ("digits", "evaluate-base"),
        ("digits", "evaluate-finetuned"),
        ("digits-finetuned", "evaluate-finetuned"),
    ]
    assert not any("[KFP Executor" in line for line in run.done.stdout.splitlines())


def test_parameters_reach_their_step(run: Run) -> None:
    base, tuned = (load_generator(run.tasks / task / "checkpoint") for task in ("train", "finetune"))
    history = json.loads((run.tasks / "finetune" / "checkpoint" / "history.json").read_text())
    assert history["points"][-1]["images"] == 40  # --set finetune.images=40, a field of the form
    assert [one.info.settings["beta1"] for one in (base, tuned)] == [0.25, 0.0]  # --set train.beta1=0.25, an override
    page = (run.tasks / "check" / "settings").read_text(encoding="utf-8")
    assert "| `train.beta1` | 0.25 | 0.0 |" in page and "| `finetune.images` | 40 | 64 |" in page
    assert "`train.beta1` | 0.25 | 0.0" in run.done.stdout
    assert base.info.model["mlp"]["hidden"] == [8]
    assert tuned.info.parent and tuned.info.parent["sha256"] == base.sha256


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested mappings."""
    for key, value in values.items():
        yield from flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]


def test_metrics_are_numbers_that_kubeflow_shows(run: Run) -> None:
    given = json.loads((run.tasks / "evaluate-finetuned" / "executor_output.json").read_text())
    shown = given["artifacts"]["metrics"]["artifacts"][0]["metadata"]
    identities = json.loads(given["artifacts"]["report"]["artifacts"][0]["metadata"]["identity"])
    measured = json.loads((run.tasks / "evaluate-finetuned" / "evaluation" / "metrics.json").read_text())
    assert shown == dict(flat(measured))
    assert "baseline.frechet_efficientnet_lite0" in shown
    assert identities["frechet_efficientnet_lite0"]["samples"] == 16
    assert len(identities) == 3 and "real_frechet_efficientnet_lite0" in identities
    assert given["parameterValues"]["Output"] is True  # what the gate tests


def test_all_steps_are_runs_of_one_pipeline_run(run: Run) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{run.workspace}/mlflow.db")
    experiment = client.get_experiment_by_name("atelier")
    assert experiment
    found = client.search_runs([experiment.experiment_id])
    (pipeline,) = (one for one in found if "atelier.pipeline" in one.data.tags)
    assert pipeline.data.tags["atelier.pipeline"] == run.tasks.parent.name
    below = {one.data.tags["atelier.step"] for one in found if one.data.tags.get("mlflow.parentRunId") == pipeline.info.run_id}
    assert below == STAGES
    assert pipeline.info.status == "FINISHED" and pipeline.data.tags["atelier.pipeline_state"] == "SUCCEEDED"


def test_states_are_kept_outside_of_the_run(run: Run) -> None:
    assert len(list((run.workspace / "states" / "train").iterdir())) == 1
    assert len(list((run.workspace / "states" / "finetune").iterdir())) == 1


def ended(workspace: Path) -> MlflowRun:
    """The MLflow run of the only pipeline in a workspace."""
    client = mlflow.MlflowClient(f"sqlite:///{workspace}/mlflow.db")
    experiment = client.get_experiment_by_name("atelier")
    assert experiment
    (pipeline,) = (one for one in client.search_runs([experiment.experiment_id]) if "atelier.pipeline_state" in one.data.tags)
    return pipeline


OF_THE_USER = ("workspace", "pipeline-runs", "states", "cache")


@pytest.fixture(scope="module")
def failed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose first step fails, beside folders that hold something."""
    workspace = tmp_path_factory.mktemp("failed")
    write_params(workspace / "params.yaml", images)
    for name in OF_THE_USER:
        (workspace / name).mkdir()
        (workspace / name / "mine.txt").write_text("mine")
    return started(workspace, "--set", "data.base.path=nowhere")


def test_a_failed_step_fails_the_run_and_mlflow_hears_of_it(failed: Run) -> None:
    done = failed.done
    assert done.returncode == 1
    assert "nowhere" in done.stdout  # the step's own line, among its messages
    assert done.stderr.splitlines()[-1].startswith("error: step prepare-base failed: data.base.path 'nowhere'")
    assert done.stdout.count("Executing task") == 4  # check, both preparations, finish: nothing was tried again
    pipeline = ended(failed.workspace)
    assert pipeline.info.status == "FAILED" and pipeline.data.tags["atelier.pipeline_state"] == "FAILED"


def test_a_generator_of_no_use_is_not_finetuned_and_not_registered(workspace: Path) -> None:
    done = run_local(workspace, "--set", "evaluate.max_distance=0.001")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: evaluate-base: the generator is rejected (frechet_efficientnet_lite0 is ")
    assert Path(last.split("Its report is ")[1]).is_file()
    for name in ("finetune", "evaluate-finetuned", "register-base", "register-finetuned"):
        assert f"task '{name}'" not in done.stdout.replace("\033[96m", "").replace("\033[0m", "")
    assert ended(workspace).info.status == "FINISHED"  # it ran as it should


def test_parts_and_trials_give_the_best_of_the_same_images(workspace: Path, run: Run) -> None:
    sweep = ("--sweep", "train.seed=0,1", "--sweep", "model.mlp.hidden=[16]")
    done = run_local(workspace, "--partitions", "2", *sweep)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (root,) = workspace.glob("pipeline-runs/local-*/atelier-*")
    assert (root / "merge-base/images/manifest.json").read_bytes() == (
        run.tasks / "prepare-base/images/manifest.json"
    ).read_bytes()
    measured = [json.loads(file.read_text()) for file in root.glob("*/evaluate-base/evaluation/metrics.json")]
    chosen = json.loads((root / "choose/evaluation/metrics.json").read_text())
    assert len(measured) == 2
    assert chosen == min(measured, key=lambda one: one["frechet_efficientnet_lite0"])
    best = load_generator(root / "choose/checkpoint")
    assert best.info.model["mlp"]["hidden"] == [16]
    parent = load_generator(root / "finetune/checkpoint").info.parent
    assert parent and parent["sha256"] == best.sha256
    client = mlflow.MlflowClient(f"sqlite:///{workspace}/mlflow.db")
    assert len(client.search_model_versions("name='digits'")) == 1  # of two trained ones
    table = (root / "choose/summary").read_text(encoding="utf-8")
    assert "| rank | train.seed |" in table and table.count("\n| ") == 4


def test_a_folder_of_the_users_survives_kfp_local(failed: Run) -> None:
    """kfp.local deletes its workspace after each run; it must be none that holds anything."""
    for name in OF_THE_USER:
        assert (failed.workspace / name / "mine.txt").read_text() == "mine"
