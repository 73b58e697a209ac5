"""The TrainJob that is submitted and how it is followed. Not a cluster: the Kubernetes API is `fake_kubernetes`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from atelier.io.storage import StorageAway
from pipelines.environment import SECRETS, SHARED_MEMORY
from pipelines.trainjob import job as jobs
from pipelines.trainjob import launch
from pipelines.trainjob.files import ALIVE, FAILED, JobFiles
from pipelines.trainjob.job import TrainJobError, TrainJobLost
from tests.support.fake_kubernetes import NAMESPACE, Kubernetes
from tests.support.small import ROOT
from tests.support.trainjob_tasks import IMAGE, Placed, when

pytest_plugins = "tests.support.trainjob_tasks"


# --- what is submitted


def test_what_is_submitted_places_the_nodes_and_names_secrets_only(
    cluster: Kubernetes, placed: Placed, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", os.environ["AWS_SECRET_ACCESS_KEY"])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of-mlflow")
    monkeypatch.setenv("MLFLOW_RUN_ID", "run-of-the-task")
    training = placed("cluster.accelerators='4'", "cluster.memory=64Gi", "cluster.secret=team-secret", "train.nodes=4")
    when(lambda: cluster.jobs, lambda: cluster.end("Failed"))
    with pytest.raises(TrainJobLost):
        launch.run("train", *training, [folder], tmp_path / "model", timeout=7200)
    (job,) = cluster.submitted
    spec, trainer = job["spec"], job["spec"]["trainer"]
    assert spec["runtimeRef"] == {"name": "torch-distributed", "kind": "ClusterTrainingRuntime"}
    assert spec["activeDeadlineSeconds"] == 7200
    assert (trainer["image"], trainer["numNodes"], trainer["numProcPerNode"]) == (IMAGE, 4, 4)
    assert trainer["resourcesPerNode"] == {
        "requests": {"cpu": "2", "memory": "64Gi", "nvidia.com/gpu": "4"},
        "limits": {"nvidia.com/gpu": "4"},
    }
    environment = {variable["name"]: variable for variable in trainer["env"]}
    assert environment["MLFLOW_RUN_ID"]["value"] == "run-of-the-task"
    assert environment["ATELIER_PIPELINE_RUN"]["value"] == tmp_path.name
    assert environment["MLFLOW_TRACKING_URI"]["value"] == os.environ["MLFLOW_TRACKING_URI"]
    assert "ATELIER_STATES" not in environment
    assert environment["AWS_SECRET_ACCESS_KEY"]["valueFrom"]["secretKeyRef"] == {
        "name": "team-secret",
        "key": "AWS_SECRET_ACCESS_KEY",
        "optional": True,
    }
    assert not any("value" in environment[name] for name in SECRETS)
    text = json.dumps(job)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in text
    assert "of-mlflow" not in text
    (patch,) = spec["runtimePatches"]
    (node,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = node["template"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY}} in pod["volumes"]
    assert {"name": "dshm", "mountPath": "/dev/shm"} in pod["containers"][0]["volumeMounts"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cluster.states=none", r"train\.nodes is 2, .* set cluster\.states"),
        ("ATELIER_IMAGE=", "ATELIER_IMAGE is not set"),
        ("MLFLOW_TRACKING_URI=http://me:mine@mlflow", "MLFLOW_TRACKING_URI holds a login"),
        ("KUBECONFIG=/nowhere", r"no.* cluster .*set train\.nodes and finetune\.nodes to 1"),
    ],
)
def test_what_cannot_be_submitted(
    change: str, message: str, cluster: Kubernetes, placed: Placed, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, value = change.partition("=")
    training = placed(change) if name == "cluster.states" else placed()
    monkeypatch.setenv(name, value)
    if name == "KUBECONFIG":
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", value)
    with pytest.raises(TrainJobError, match=message):
        launch.run("train", *training, [folder], tmp_path / "model")
    assert not cluster.submitted


@pytest.mark.parametrize(
    ("kind", "status", "answer", "remedy"),
    [
        ("POST trainjobs", 403, "trainjobs is forbidden", "bind the task's service account to a Role with trainjobs: create"),
        ("POST trainjobs", 403, "admission webhook x denied the request: spec", "mend what the cluster objects to"),
        ("GET pods", 403, "pods is forbidden", "bind the task's service account"),
        ("GET clustertrainingruntimes", 404, "not found", r"install Kubeflow Trainer 2\.3"),
        ("GET trainjobs", 500, "etcd is away", "mend what the cluster objects to"),
    ],
)
def test_the_clusters_answer_and_the_remedy_are_shown(
    kind: str,
    status: int,
    answer: str,
    remedy: str,
    cluster: Kubernetes,
    placed: Placed,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster.refuse[kind] = (status, answer)
    if kind == "POST trainjobs":
        cluster.refuse["DELETE trainjobs"] = (403, "forbidden too")
    with pytest.raises(TrainJobError, match=f"{answer}; {remedy}"):
        launch.run("train", *placed(), [folder], tmp_path / "model")
    assert cluster.jobs == {}
    assert len(cluster.deleted) == len(cluster.submitted)
    assert "could not be deleted" not in capsys.readouterr().err  # what was never there


# --- how it is followed


def test_a_job_that_failed_is_lost_and_deleted(cluster: Kubernetes, placed: Placed, folder: Path, tmp_path: Path) -> None:
    when(lambda: cluster.jobs, lambda: cluster.end("Failed", "backoff limit"))
    with pytest.raises(TrainJobLost, match=r"failed: backoff limit\. .*run the task again") as lost:
        launch.run("train", *placed(), [folder], tmp_path / "model")
    assert lost.value.exit_code == 75
    assert cluster.deleted == [cluster.submitted[0]["metadata"]["name"]]
    assert not (tmp_path / "model").exists()


def test_a_job_that_takes_too_long_is_deleted(cluster: Kubernetes, placed: Placed, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainJobError, match=r"has not ended in 0\.0 hours and was deleted"):
        launch.run("train", *placed(), [folder], tmp_path / "model", timeout=1)
    assert len(cluster.deleted) == 1
    assert JobFiles(cluster.submitted[0]["spec"]["trainer"]["command"][3]).note(ALIVE)


def test_s3_may_be_away_while_the_nodes_train(
    cluster: Kubernetes, placed: Placed, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note(files: JobFiles, name: str) -> dict[str, Any] | None:
        asked.extend([name] if name == FAILED else [])
        if name == FAILED and len(asked) < 3:
            raise StorageAway("s3://away: cannot be reached")
        return found(files, name)

    asked: list[str] = []
    found = JobFiles.note
    monkeypatch.setattr(JobFiles, "note", note)
    when(lambda: len(asked) >= 3, lambda: cluster.end("Failed", "afterwards"))
    with pytest.raises(TrainJobLost, match="afterwards"):
        launch.run("train", *placed(), [folder], tmp_path / "model")


def test_a_job_that_somebody_deleted_is_lost(cluster: Kubernetes, placed: Placed, folder: Path, tmp_path: Path) -> None:
    when(lambda: cluster.jobs, cluster.jobs.clear)
    with pytest.raises(TrainJobLost, match="deleted by somebody else"):
        launch.run("train", *placed(), [folder], tmp_path / "model")


def test_a_task_that_is_stopped_deletes_its_job(cluster: Kubernetes, placed: Placed, folder: Path, tmp_path: Path) -> None:
    states = placed().cluster.states
    code = (
        "import sys; from pathlib import Path; from pipelines.project import load; "
        "from tests.support.trainjob_tasks import *; "
        "training = Training.of(load('params.yaml', [*TWO_NODES, f'cluster.states={sys.argv[1]}']), 'train'); "
        "launch.run('train', *training, [Path(sys.argv[2])], Path('model'))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    task = subprocess.Popen([sys.executable, "-c", code, states, str(folder)], env=environment)
    when(lambda: cluster.jobs, lambda: task.send_signal(signal.SIGTERM))
    assert task.wait(timeout=180) == 128 + signal.SIGTERM
    assert cluster.deleted == [cluster.submitted[0]["metadata"]["name"]]
    assert cluster.jobs == {}


def test_a_later_attempt_joins_the_job_that_still_runs(
    cluster: Kubernetes, placed: Placed, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = submitted_before(cluster, placed, folder, tmp_path)
    cluster.jobs[job["metadata"]["name"]] = job
    when(lambda: "goes on; waiting" in capsys.readouterr().out, lambda: cluster.end("Failed"))
    with pytest.raises(TrainJobLost):
        launch.run("train", *placed(), [folder], tmp_path / "model")
    assert not cluster.submitted


@pytest.mark.parametrize("state", ["Failed", "Complete", "being deleted"])
def test_a_later_attempt_replaces_the_job_that_ended(
    state: str, cluster: Kubernetes, placed: Placed, folder: Path, tmp_path: Path
) -> None:
    job = submitted_before(cluster, placed, folder, tmp_path)
    cluster.jobs[job["metadata"]["name"]] = job
    files = JobFiles(job["spec"]["trainer"]["command"][3])
    files.write(FAILED, {"message": "of the earlier attempt"})
    if state == "being deleted":
        job["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        threading.Timer(0.5, cluster.jobs.clear).start()
    else:
        cluster.end(state)
    when(lambda: cluster.submitted, lambda: cluster.end("Failed", "anew"))
    with pytest.raises(TrainJobLost, match="anew"):
        launch.run("train", *placed(), [folder], tmp_path / "model")
    assert files.note(FAILED) is None
    assert len(cluster.submitted) == 1
    assert len(cluster.deleted) == (1 if state == "being deleted" else 2)


def submitted_before(cluster: Kubernetes, placed: Placed, folder: Path, tmp_path: Path) -> dict[str, Any]:
    """The job of an earlier attempt of the same task, which is neither on the cluster nor counted any more."""
    with pytest.raises(TrainJobError):
        launch.run("train", *placed(), [folder], tmp_path / "model", timeout=0.1)
    (job,) = cluster.submitted
    cluster.submitted.clear()
    cluster.deleted.clear()
    return job


def test_other_settings_and_another_pipeline_run_are_other_jobs(
    cluster: Kubernetes, placed: Placed, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {submitted_before(cluster, placed, folder, tmp_path)["metadata"]["name"] for _ in range(2)}
    assert len(names) == 1
    names.add(submitted_before(cluster, lambda: placed("train.seed=1"), folder, tmp_path)["metadata"]["name"])
    monkeypatch.setenv("ATELIER_PIPELINE_RUN", "another")
    names.add(submitted_before(cluster, placed, folder, tmp_path)["metadata"]["name"])
    assert len(names) == 3


def test_what_the_nodes_wait_for_and_their_log_are_shown(
    cluster: Kubernetes, placed: Placed, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def unschedulable() -> None:
        cluster.pods[1].waiting = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."

    def logs() -> None:
        cluster.pods[0].phase, cluster.pods[0].log = "Running", "first\nsecond\n"
        time.sleep(0.5)
        cluster.pods[0].log += "third\n"
        time.sleep(0.5)
        cluster.pods[0].log = "another container\nsecond\n"
        time.sleep(0.5)
        cluster.end("Failed")

    shown = [""]

    def seen() -> bool:
        shown[0] += capsys.readouterr().out
        return "3 Insufficient nvidia.com/gpu." in shown[0]

    when(lambda: cluster.pods, unschedulable)
    when(seen, logs)
    with pytest.raises(TrainJobLost):
        launch.run("train", *placed(), [folder], tmp_path / "model")
    lines = (shown[0] + capsys.readouterr().out).splitlines()
    assert sum("3 Insufficient nvidia.com/gpu." in line for line in lines) == 1
    written = [line for line in lines if line in ("first", "second", "third", "another container")]
    assert written == ["first", "second", "third", "another container", "second"]


@pytest.mark.parametrize("patience", [600.0, 0.5])
def test_the_kubernetes_api_may_be_away_for_a_while(
    patience: float, cluster: Kubernetes, placed: Placed, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def comes_back() -> None:
        time.sleep(2)
        if patience > 2:
            cluster.refuse.clear()
            cluster.end("Failed", "after it came back")

    monkeypatch.setattr(jobs, "UNREACHABLE_SECONDS", patience)
    when(lambda: cluster.jobs, lambda: cluster.refuse.update({"GET trainjobs": (503, "away")}))
    when(lambda: cluster.refuse, comes_back)
    with pytest.raises(TrainJobLost, match="after it came back" if patience > 2 else "has not answered for"):
        launch.run("train", *placed(), [folder], tmp_path / "model")
    assert len(cluster.deleted) == 1


def test_patience_with_the_kubernetes_api_begins_anew_with_each_answer(
    cluster: Kubernetes, placed: Placed, folder: Path, tmp_path: Path
) -> None:
    submitted = submitted_before(cluster, placed, folder, tmp_path)
    cluster.jobs[submitted["metadata"]["name"]] = submitted
    job = jobs.TrainJob(submitted["metadata"]["name"])
    job._reached -= 2 * jobs.UNREACHABLE_SECONDS
    assert not job.ended()
    cluster.refuse["GET trainjobs"] = (503, "away")
    assert not job.ended()
    job._reached -= 2 * jobs.UNREACHABLE_SECONDS
    with pytest.raises(TrainJobLost, match="has not answered for 20 minutes"):
        job.ended()


def test_a_job_that_cannot_be_deleted_is_named(
    cluster: Kubernetes, placed: Placed, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.refuse["DELETE trainjobs"] = (403, "trainjobs is forbidden")
    with pytest.raises(TrainJobError):
        launch.run("train", *placed(), [folder], tmp_path / "model", timeout=0.1)
    name = cluster.submitted[0]["metadata"]["name"]
    assert f"kubectl delete trainjob {name} --namespace {NAMESPACE}" in capsys.readouterr().err
