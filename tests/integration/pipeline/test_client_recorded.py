"""The verbs against what a real backend answered (kfp_recorded): wrapped nodes, old lists, removed pods, MLflow's record."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

import kfp_server_api as api
import pytest
from mlflow import MlflowClient

from atelier.tracking import closing
from atelier.tracking.step_run import step_run
from pipelines import dag
from pipelines.client import calls, pods, tasks
from tests.support.cluster_sights import sees_a_failure, sees_a_success, sees_an_end_by_hand
from tests.support.kfp_fixtures import PIPELINE, Run, kfp_server, run_verb, started_run
from tests.support.kfp_recorded import recorded
from tests.support.kfp_server import Answer, KfpServer, Refused
from tests.support.registry_fixtures import store, tracking

__all__ = ["kfp_server", "run_verb", "started_run", "store", "tracking"]

NODES = ("nodes-small", "nodes-pod-deleted-and-retried", "nodes-sweep-of-2")
FROZEN = (
    "run-error-workflow-too-large",
    "run-failed-list-frozen",
    "run-succeeded-list-frozen",
    "run-terminated",
    "run-terminated-in-backoff",
    "run-with-mlflow-plugin",
)


def parent(name: str) -> str:
    """The name of the node above: of x(0) it is x, of x.y it is x."""
    attempt = re.search(r"\(\d+\)$", name)
    return name.removesuffix(attempt[0]) if attempt else name.rpartition(".")[0]


def run_of(nodes: list[dict[str, Any]]) -> tuple[Any, dict[str, Any]]:
    """A run whose rows are those of recorded nodes (toModelTasks in api_converter.go), and its rows by their nodes' names."""
    parents = {node["name"]: parent(node["name"]) for node in nodes}
    rows = {
        node["name"]: api.V2beta1PipelineTaskDetail(
            display_name=node["displayName"],
            state=node["phase"].upper(),
            child_tasks=[
                api.PipelineTaskDetailChildTask(pod_name=one["id"]) for one in nodes if parents[one["name"]] == node["name"]
            ],
        )
        for node in nodes
    }
    return api.V2beta1Run(
        run_id="a-run", state="SUCCEEDED", run_details=api.V2beta1RunDetails(task_details=[*rows.values()])
    ), rows


@pytest.mark.parametrize("name", NODES)
def test_each_task_has_the_pods_that_ran_it(name: str) -> None:
    nodes = recorded(name)["nodes"]
    run, rows = run_of(nodes)
    shown = tasks.tasks(run)
    of_tasks = [node for node in nodes if node["type"] == "Retry" and node["templateName"].endswith("container-executor")]
    assert sorted(row.display_name for row in shown) == sorted(node["displayName"] for node in of_tasks)
    assert len(of_tasks) >= 5
    for node in of_tasks:
        attempts = [one for one in nodes if re.fullmatch(re.escape(node["name"]) + r"\(\d+\)\.executor\(\d+\)", one["name"])]
        found = pods.pods(run, rows[node["name"]])
        assert len(found) == len(attempts) > 0
        for attempt, names in zip(attempts, found, strict=True):
            real = attempt["pod"] or f"{recorded(name)['workflow']}-{attempt['templateName']}-{attempt['id'].rpartition('-')[2]}"
            assert real in names


@pytest.mark.parametrize("name", ["run-succeeded-small", "run-succeeded-cached"])
def test_a_run_that_succeeded_has_each_task_once(name: str, kfp: KfpServer, run: Run) -> None:
    run_id = kfp.recall(name)
    sees_a_success(run, run_id, {"check", "prepare", "train", "use", "finish"})
    assert "0001" not in run("status", run_id).out


def test_a_run_that_failed_names_its_task(kfp: KfpServer, run: Run) -> None:
    """The small run's list as it is when `use` fails; no recorded run that failed has a list that is whole."""
    answer = recorded("run-succeeded-small")["body"]
    failing = ("use", "use(0)", "condition-2", "condition-2(0)", "exit-handler-1", "exit-handler-1(0)", "root", "root(0)")
    for row in answer["run_details"]["task_details"]:
        row["state"] = "FAILED" if row.get("display_name") in failing else row.get("state")
    answer["state"] = "FAILED"
    kfp.recorded[f"GET /apis/v2beta1/runs/{answer['run_id']}"] = Answer(200, json.dumps(answer))
    kfp.logs = {"proto-m54bd-system-container-impl-3919995217": "at work\nerror: not enough images\n"}
    sees_a_failure(run, answer["run_id"], "use", "error: not enough images")


def test_a_run_that_somebody_ended_is_terminated(kfp: KfpServer, run: Run) -> None:
    run_id = kfp.recall("run-terminated")
    kfp.recorded[f"POST /apis/v2beta1/runs/{run_id}:terminate"] = Refused(
        400, f"Failed to terminate a run {run_id}. Row not found", 3
    ).answer
    sees_an_end_by_hand(run, run_id)


@pytest.mark.parametrize("name", FROZEN)
def test_an_old_list_of_tasks_is_never_shown(name: str, kfp: KfpServer, run: Run) -> None:
    run_id = kfp.recall(name)
    told = run("status", run_id)
    state = {"run-succeeded-list-frozen": "succeeded"}.get(
        name, "terminated" if "CANCELING" in json.dumps(recorded(name)) else "failed"
    )
    assert told.code == 0 and f": {state}, 2026-11-29" in told.out and f"{kfp.host}/#/runs/details/{run_id}" in told.out
    assert re.search(r"the list of tasks stands still since 2026-11-29 \d\d:\d\d: the run is", told.out)
    assert not re.search(r"^(task|check|train) ", told.out, re.MULTILINE)
    logs = run("logs", run_id, "train")
    assert logs.code == 1 and "stands still" in logs.err and "executor-logs" in logs.err and "has no task" not in logs.err
    waited = run("wait", run_id)
    if state == "succeeded":
        assert waited.code == 0 and waited.out.startswith("succeeded after 0:07:10")
    else:
        assert waited.code == 1 and f"run {run_id} {state}: the list of tasks stands still" in waited.err
        assert "no task is marked" not in waited.err


def test_a_driver_that_never_ends_is_an_old_list(kfp: KfpServer, run: Run) -> None:
    """While the run goes on nothing contradicts the list but that."""
    answer = recorded("run-failed-list-frozen")["body"]
    answer |= {"state": "RUNNING", "finished_at": "1970-01-01T00:00:00Z", "state_history": answer["state_history"][:2]}
    kfp.recorded[f"GET /apis/v2beta1/runs/{answer['run_id']}"] = Answer(200, json.dumps(answer))
    told = run("status", answer["run_id"])
    assert "check-driver" in told.out and "began more than 10 minutes ago" in told.out
    waited = run("wait", answer["run_id"], "--timeout", "1s")
    assert waited.code == 3 and waited.out.count("stands still") == 1

    now = datetime.datetime.now(datetime.UTC)
    for row in answer["run_details"]["task_details"]:
        row["start_time"] = now.isoformat()
    kfp.recorded[f"GET /apis/v2beta1/runs/{answer['run_id']}"] = Answer(200, json.dumps(answer))
    assert "stands still" not in run("status", answer["run_id"]).out


def test_logs_of_a_run_whose_workflow_is_gone_come_from_the_archive(kfp: KfpServer, run: Run) -> None:
    """Argo's archive, where the server of the UI does not look by itself."""
    run_id, text = kfp.recall("run-succeeded-small"), recorded("log-of-a-pod")["body"]
    pod = "proto-m54bd-system-container-impl-2152355399"
    kfp.archive = {f"mlpipeline/private-artifacts/kubeflow/proto-m54bd/2026/11/29/{pod}/main.log": text}
    assert run("logs", run_id, "train").out == text
    gone = run("logs", run_id, "prepare")
    assert gone.code == 1 and "The specified key does not exist" in gone.err
    assert "executor-logs" in gone.err and f"{kfp.host}/#/runs/details/{run_id}" in gone.err

    kfp.logs = {"proto-m54bd-system-container-impl-2015281596": "packed\n"}
    every = run("logs", run_id).out
    assert "==> prepare (succeeded)\npacked\n" in every and text in every and "no log of task check" in every


def test_the_archive_lies_in_the_bucket_of_the_runs_artifacts_and_the_day_of_its_workflow(kfp: KfpServer, run: Run) -> None:
    answer = recorded("run-succeeded-small")["body"]
    answer |= {"created_at": "2026-11-29T23:59:30Z", "runtime_config": {"pipeline_root": "minio://ours/v2/artifacts"}}
    kfp.recorded[f"GET /apis/v2beta1/runs/{answer['run_id']}"] = Answer(200, json.dumps(answer))
    pod = "proto-m54bd-system-container-impl-2152355399"
    kfp.archive = {f"ours/private-artifacts/kubeflow/proto-m54bd/2026/11/30/{pod}/main.log": "late\n"}
    assert run("logs", answer["run_id"], "train").out == "late\n"


def test_a_task_from_the_cache_had_no_pod(kfp: KfpServer, run: Run) -> None:
    done = run("logs", kfp.recall("run-succeeded-cached"), "train")
    assert done.code == 1 and "no log of task train (it had no pod: it was skipped, taken from the cache" in done.err


def test_a_workflow_that_is_gone_cannot_be_terminated(kfp: KfpServer, run: Run, started: Any) -> None:
    answer = recorded("terminate-after-workflow-gone")
    started.state = "CANCELING"
    kfp.recorded[f"POST /apis/v2beta1/runs/{started.run_id}:terminate"] = Answer(answer["status"], json.dumps(answer["body"]))
    done = run("terminate", started.run_id)
    assert done.code == 0 and "its workflow is gone, as after its schedule was deleted" in done.out


@pytest.fixture(name="mlflow")
def mlflow_client(run: Run, tracking: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    uri = f"sqlite:///{tracking / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return MlflowClient(uri)


def left_open(mlflow: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Ids of the MLflow runs of a pipeline and of its training, as a workflow that was ended leaves them."""
    with monkeypatch.context() as inside:
        inside.setenv("ATELIER_PIPELINE_RUN", run_id)
        with step_run("train", "verbs", {}, required=True) as train:
            pass
    assert train.parent_run_id
    mlflow.update_run(train.opened_id, status="RUNNING")
    return train.parent_run_id, train.opened_id


@pytest.mark.parametrize(
    ("name", "verb", "status", "said"),
    [
        ("run-terminated-in-backoff", "status", "KILLED", "MLflow: KILLED, terminated in train"),
        ("run-terminated", "wait", "KILLED", "MLflow: KILLED, terminated in train"),
        ("run-error-workflow-too-large", "wait", "FAILED", "MLflow: FAILED, failed in train, which ended without a word: "),
    ],
)
def test_what_no_finish_closed_is_closed_by_the_next_verb(
    name: str, verb: str, status: str, said: str, kfp: KfpServer, run: Run, mlflow: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = kfp.recall(name)
    assert "MLflow has no run of it" in run("status", run_id).out
    whole, train = left_open(mlflow, run_id, monkeypatch)
    done = run(verb, run_id)
    assert said in done.out + done.err
    closed = mlflow.get_run(whole)
    assert closed.info.status == status and mlflow.get_run(train).info.status == "KILLED"
    finished = datetime.datetime.fromisoformat(recorded(name)["body"]["finished_at"])
    assert closed.info.end_time == 1000 * int(finished.timestamp())
    assert f"MLflow: {status}, {closed.data.tags[closing.REASON]}" in done.out + done.err


def test_a_run_whose_workflow_is_gone_is_closed_when_somebody_terminates_it(
    kfp: KfpServer, run: Run, started: Any, mlflow: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    started.state, kfp.lost = "RUNNING", {started.run_id}
    whole, _ = left_open(mlflow, started.run_id, monkeypatch)
    assert "MLflow" not in run("status", started.run_id).out and mlflow.get_run(whole).info.status == "RUNNING"
    assert "MLflow: KILLED, terminated in train" in run("terminate", started.run_id).out
    assert mlflow.get_run(whole).info.status == "KILLED"


def test_without_mlflow_the_verbs_say_that_they_did_not_ask(kfp: KfpServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = kfp.recall("run-terminated")
    assert "MLFLOW_TRACKING_URI is not set, so MLflow's run of it was neither read nor closed" in run("status", run_id).out
    assert "MLFLOW" not in run("status", kfp.recall("run-succeeded-small")).out
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    away = run("wait", run_id)
    assert away.code == 1 and f"run {run_id} terminated" in away.err and "MLflow at http://127.0.0.1:9 cannot be used" in away.err


@pytest.mark.parametrize("verb", [("submit",), ("schedule", "create", "--every", "1d")])
@pytest.mark.parametrize(
    ("key", "value", "filled"),
    [
        ("registry.experiment", "daily [[CurrentTime]]", "[[CurrentTime]]"),
        ("data.base.licence", "of {{workflow.name}}", "{{workflow.name}}"),
    ],
)
def test_values_that_the_backend_would_fill_in_are_refused(
    verb: tuple[str, ...], key: str, value: str, filled: str, kfp: KfpServer, run: Run
) -> None:
    done = run(*verb, *PIPELINE, "--set", f"{key}={value}")
    assert done.code == 1 and f"{key}: {filled!r} would not arrive as it stands" in done.err and kfp.requests == []


def test_what_the_backend_would_fill_in_is_found_anywhere() -> None:
    refuse = calls.refuse_what_the_backend_expands
    refuse({"data": {"path": "s3://a/[b]/{c}", "sizes": [[1, 2], [3]]}}, dag.Cluster())
    for settings, cluster, key in (
        ({"train": {"notes": ["plain", "a [[Index]] b"]}}, dag.Cluster(), "train.notes"),
        ({"cluster": {"node_selector": {"{{x}}": "linux"}}}, dag.Cluster(), "cluster.node_selector.{{x}}"),
        ({}, dag.Cluster(trials=({"train.seed": 1}, {"train.name": "{{b}}"})), "--sweep, trial 2.train.name"),
        ({}, dag.Cluster(imports={"data.base": "s3://b/{{c}}"}), "data.base.path"),
    ):
        with pytest.raises(dag.PipelineError, match=f"^{re.escape(key)}: "):
            refuse(settings, cluster)
