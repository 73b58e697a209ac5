"""What a user of a cluster sees of runs: they succeed, fail, are rejected, choose of trials, use the cache, are ended by hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kfp_server_api as api
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun

from pipelines.client.calls import Client
from pipelines.client.connection import Server, secret
from tests.cluster.conftest import LONG, Suite
from tests.support.cluster_sights import (
    sees_a_failure,
    sees_a_success,
    sees_an_end_by_hand,
    sees_that_a_schedule_is_kept,
    states,
)
from tests.support.small import ROOT, unavailable, write_images

STEPS = {"prepare-base", "prepare-target", "train", "evaluate-base", "finetune", "evaluate-finetuned"}
REGISTERED = {"register-base", "register-finetuned"}


def ended(mlflow: MlflowClient, suite: Suite, run_id: str) -> MlflowRun:
    """MLflow's run of a pipeline."""
    experiment = mlflow.get_experiment_by_name(suite.name)
    assert experiment
    (found,) = mlflow.search_runs([experiment.experiment_id], f"tags.`atelier.pipeline` = '{run_id}'")
    return found


def test_a_run_from_images_to_two_registered_generators(suite: Suite, mlflow: MlflowClient) -> None:
    run_id = suite.submit("--name", "plain")
    suite.until("the first task", lambda: "train" in suite.run("status", run_id).out)
    assert ended(mlflow, suite, run_id).info.status == "RUNNING"
    sees_a_success(suite.run, run_id, {"check", *STEPS, *REGISTERED, "finish"})
    whole = ended(mlflow, suite, run_id)
    assert whole.info.status == "FINISHED" and whole.data.tags["atelier.pipeline_reason"] == "done"
    for name in (suite.name, f"{suite.name}-tuned"):
        (version,) = mlflow.search_model_versions(f"name='{name}'")
        assert version.run_id
    assert suite.run("logs", run_id, "train").out.strip()


def test_a_gate_that_closes_on_a_run_from_the_form(suite: Suite, mlflow: MlflowClient, tmp_path: Path) -> None:
    """As in the UI: a version of the pipeline, its form, and in that the field `overrides`."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    placed = (ROOT / "cluster.yaml").read_text(encoding="utf-8")
    (tmp_path / "cluster.yaml").write_text(placed.replace('cpu: "2"', "cpu: 500m"), encoding="utf-8")  # no field of the form
    uploaded = suite.run("upload", str(tmp_path), *suite.images)
    assert uploaded.code == 0, uploaded.err
    *_, pipeline, _, version = uploaded.out.strip().split("/")
    server = Server(
        os.environ["KFP_HOST"],
        suite.namespace,
        secret("KFP_TOKEN", None, "KFP_TOKEN"),
        secret("KFP_SESSION", None, "KFP_SESSION"),
    )
    to = Client(server)
    values = dict(word.split("=", 1) for word in suite.settings if "=" in word)
    overrides = {key: _typed(value) for key, value in values.items()} | {"evaluate.max_distance": 0.000001, "train.seed": 7}
    form = {"registry_experiment": suite.name, **_form(overrides)}
    run_id = to.submit(
        api.V2beta1Run(
            display_name="rejected",
            experiment_id=to.experiment_made(suite.name).experiment_id,
            pipeline_version_reference=api.V2beta1PipelineVersionReference(pipeline_id=pipeline, pipeline_version_id=version),
            runtime_config=api.V2beta1RuntimeConfig(parameters=form),
        )
    )
    waited = suite.run("wait", run_id)
    assert (
        waited.code == 0 and "MLflow: FINISHED, a gate closed, since a generator is rejected: evaluate_base found" in waited.out
    )
    whole = ended(mlflow, suite, run_id)
    assert whole.info.status == "FINISHED" and "a gate closed" in whole.data.tags["atelier.pipeline_reason"]
    train = mlflow.search_runs([whole.info.experiment_id], f"tags.`mlflow.parentRunId` = '{whole.info.run_id}'")
    assert {"7"} == {one.data.params["settings.seed"] for one in train if "settings.seed" in one.data.params}
    assert not REGISTERED & states(suite.run("status", run_id).out).keys()


def _form(overrides: dict[str, Any]) -> dict[str, Any]:
    """The form of this project, filled: fields by their names, all else in `overrides`."""
    from pipelines import form
    from pipelines.project import load

    fields = load(ROOT / "params.yaml").cluster.form
    asked = {form.parameter(key): value for key, value in overrides.items() if key in fields}
    others = {key: value for key, value in overrides.items() if key not in fields and not form.fixed(key, fields)}
    return {**asked, form.OVERRIDES: others}


def _typed(text: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text)


def test_a_component_that_fails_is_named_and_its_log_says_why(suite: Suite, mlflow: MlflowClient) -> None:
    run_id = suite.submit(
        "--name", "no images", *suite.sets("data.base.source=s3", "data.base.path=s3://no-such-bucket-of-atelier/x")
    )
    sees_a_failure(suite.run, run_id, "prepare-base", "error: ")
    whole = ended(mlflow, suite, run_id)
    assert whole.info.status == "FAILED" and "prepare" in whole.data.tags["atelier.pipeline_reason"]


def test_mlflow_that_cannot_be_used_ends_in_the_first_task(suite: Suite) -> None:
    images = [word.replace(os.environ["TRACKING_URI"], "http://127.0.0.1:9") for word in suite.images]
    done = suite.run("submit", *images, *suite.settings, "--name", "no MLflow")
    assert done.code == 0, done.err
    sees_a_failure(suite.run, done.out.strip().rpartition("/")[2], "check", "http://127.0.0.1:9")


def test_of_three_trials_one_is_registered(suite: Suite, mlflow: MlflowClient) -> None:
    before = len(mlflow.search_model_versions(f"name='{suite.name}'"))
    run_id = suite.submit("--name", "a sweep", "--sweep", "train.seed=1,2,3")
    waited = suite.run("wait", run_id, "--timeout", "30m")
    assert waited.code == 0, waited.err
    status = suite.run("status", run_id).out
    if "the list of tasks stands still" not in status:  # three trials are just below what Kubeflow still lists
        told = states(status)
        assert told["train"] == told["evaluate-base"] == ["succeeded"] * 3 and told["choose"] == ["succeeded"]
    assert len(mlflow.search_model_versions(f"name='{suite.name}'")) == before + 1


def test_images_by_their_hash_are_fetched_once(suite: Suite, tmp_path: Path) -> None:
    """Two runs on images that DVC pushed: the second takes fetching, packing and training from the cache."""
    remote = os.environ.get("DVC_REMOTE") or unavailable("DVC_REMOTE names no s3:// prefix that this machine and the pods reach")
    for name in ("params.yaml", "cluster.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    write_images(tmp_path / "pictures", 200, seed=os.getpid())
    for arguments in (
        ["init", "--no-scm", "-q"],
        ["remote", "add", "-d", "origin", remote],
        ["add", "-q", "pictures"],
        ["push", "-q"],
    ):
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=tmp_path, check=True, capture_output=True)
    options = suite.sets(*(f"data.{name}.{value}" for name in ("base", "target") for value in ("source=folder", "path=pictures")))
    first = suite.submit(*options, "--name", "by hash", project=str(tmp_path))
    assert suite.run("wait", first).code == 0 and suite.run("logs", first, "train").out.strip()
    second = suite.submit(*options, "--name", "by hash again", project=str(tmp_path))
    assert suite.run("wait", second).code == 0
    for task in ("prepare-base", "train"):
        assert "taken from the cache" in suite.run("logs", second, task).err


def test_a_run_that_is_terminated(suite: Suite, mlflow: MlflowClient) -> None:
    run_id = suite.submit("--name", "terminated", *suite.sets(*LONG))
    suite.until("training", lambda: "running" in states(suite.run("status", run_id).out + "\ntask \n").get("train", []))
    assert suite.run("terminate", run_id).code == 0
    sees_an_end_by_hand(suite.run, run_id)
    whole = ended(mlflow, suite, run_id)
    assert whole.info.status == "KILLED" and whole.data.tags["atelier.pipeline_reason"].startswith(("terminated", "stopped"))


def test_a_schedule_whose_run_goes_on_is_kept(suite: Suite) -> None:
    made = suite.run("schedule", "create", *suite.images, *suite.settings, *suite.sets(*LONG), "--every", "1m", "--no-catch-up")
    assert made.code == 0, made.err
    schedule = made.out.strip().rpartition("/")[2]

    def started() -> str:
        rows = [line.split() for line in suite.run("status").out.splitlines()]
        return next((row[0] for row in rows if "running" in row or "pending" in row), "")

    run_id = suite.until("a run of the schedule", started)
    assert suite.run("schedule", "pause", schedule).code == 0
    sees_that_a_schedule_is_kept(suite.run, schedule, run_id)


@pytest.mark.parametrize("verb", ["status", "wait", "terminate", "logs"])
def test_a_run_that_nobody_knows(suite: Suite, verb: str) -> None:
    done = suite.run(verb, "00000000-0000-0000-0000-000000000000")
    assert done.code == 1 and "not found (404" in done.err and "Traceback" not in done.err
