"""The whole pipeline of Kubeflow as processes on this machine, on very small data."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest

from atelier.generator import load_generator
from atelier.settings import load
from pipelines import form, steps
from small import write_params


@dataclass(frozen=True)
class Run:
    """A run of `python -m pipelines run-local` and the folder that holds a folder for each task."""

    done: subprocess.CompletedProcess[str]
    workspace: Path

    @property
    def tasks(self) -> Path:
        (root,) = self.workspace.glob("pipeline-runs/local-*/atelier-*")
        return root


def run_local(workspace: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines", "run-local", *arguments]
    return subprocess.run(command, cwd=workspace, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    workspace = tmp_path_factory.mktemp("local")
    write_params(workspace / "params.yaml", images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Run(run_local(workspace, "--set", "finetune.images=40"), workspace)


def test_it_ends_with_the_table(run: Run) -> None:
    assert run.done.returncode == 0, run.done.stdout[-3000:] + run.done.stderr[-3000:]
    table = run.done.stdout[run.done.stdout.rindex("Registered generators") :]
    for word in ("digits-finetuned", "version 1", "champion", "efficientnet_lite0", "report.html"):
        assert word in table


def test_every_task_left_its_outputs(run: Run) -> None:
    expected = {
        "prepare-base": "images/manifest.json",
        "prepare-target": "images/manifest.json",
        "train": "checkpoint/generator.safetensors",
        "finetune": "checkpoint/generator.safetensors",
        "evaluate-base": "evaluation/metrics.json",
        "evaluate-finetuned": "evaluation/baseline.json",
        "register": "registration/registration.json",
    }
    for task, file in expected.items():
        assert (run.tasks / task / file).stat().st_size, task
    for task in ("evaluate-base", "evaluate-finetuned"):
        assert (run.tasks / task / "report").read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html")
    assert (run.tasks / "register" / "summary").read_text(encoding="utf-8").startswith("# Registered generators")


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
    table = json.loads((run.tasks / "register" / "registration" / "summary.json").read_text())
    assert [(line["generator"], line["report"].split("/")[-3]) for line in table] == [
        ("digits", "evaluate-base"),
        ("digits", "evaluate-finetuned"),
        ("digits-finetuned", "evaluate-finetuned"),
    ]
    assert not any("[KFP Executor" in line for line in run.done.stdout.splitlines())


def test_parameters_reach_their_step(run: Run) -> None:
    base, tuned = (load_generator(run.tasks / task / "checkpoint") for task in ("train", "finetune"))
    history = json.loads((run.tasks / "finetune" / "checkpoint" / "history.json").read_text())
    assert history["points"][-1]["images"] == 40  # --set finetune.images=40
    assert base.info.model["mlp"]["hidden"] == [8]
    assert tuned.info.parent and tuned.info.parent["sha256"] == base.sha256


def test_metrics_are_numbers_that_kubeflow_shows(run: Run) -> None:
    given = json.loads((run.tasks / "evaluate-finetuned" / "executor_output.json").read_text())
    shown = given["artifacts"]["metrics"]["artifacts"][0]["metadata"]
    measured = json.loads((run.tasks / "evaluate-finetuned" / "evaluation" / "metrics.json").read_text())
    assert shown == dict(form.flat(measured))
    assert "baseline.frechet_efficientnet_lite0" in shown


def test_all_steps_are_runs_of_one_pipeline_run(run: Run) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{run.workspace}/mlflow.db")
    experiment = client.get_experiment_by_name("atelier")
    assert experiment
    found = client.search_runs([experiment.experiment_id])
    (pipeline,) = (one for one in found if "atelier.pipeline" in one.data.tags)
    assert pipeline.data.tags["atelier.pipeline"] == run.tasks.parent.name
    below = {one.data.tags["atelier.step"] for one in found if one.data.tags.get("mlflow.parentRunId") == pipeline.info.run_id}
    assert below == set(steps.STEPS) - {"check"}


def test_states_are_kept_outside_of_the_run(run: Run) -> None:
    assert len(list((run.workspace / "states" / "train").iterdir())) == 1
    assert len(list((run.workspace / "states" / "finetune").iterdir())) == 1


def test_a_failed_step_fails_the_run(workspace: Path) -> None:
    done = run_local(workspace, "--set", "data.path=nowhere")
    assert done.returncode == 1
    assert "nowhere" in done.stdout  # the step's own line, among its messages
    assert done.stderr.splitlines()[-1].startswith("error: step prepare-base failed: data.path 'nowhere'")


def test_the_check_refuses_what_no_single_step_could(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = form.filled(load("params.yaml"))
    steps.execute("check", given)
    for name, value, said in (
        ("target_channels", 3, "target.channels is 3 but data.channels is 1"),
        ("train_images", 0, "train.images"),
    ):
        with pytest.raises(SystemExit) as stop:
            steps.execute("check", {**given, name: value})
        assert stop.value.code == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and said in error
