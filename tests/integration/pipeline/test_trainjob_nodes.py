"""Real nodes that find each other, as processes of this machine that share nothing but a real S3 server."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from atelier.io.storage import StorageError
from atelier.models.model import read_info
from pipelines.project import load
from pipelines.trainjob import launch, node
from pipelines.trainjob.files import ALIVE, BASE, CHECKPOINT, DATA, FAILED, JOB, JobFiles, index
from pipelines.trainjob.job import TrainJobError, TrainJobLost
from tests.support.fake_kubernetes import Kubernetes, kill_all
from tests.support.small import ROOT, free_port
from tests.support.trainjob_tasks import Placed, Training, alone, assert_near, when

pytest_plugins = "tests.support.trainjob_tasks"


def test_two_nodes_train_as_one(
    machines: Kubernetes, placed: Placed, data: Path, tmp_path: Path, s3: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    training = placed()
    info = launch.run("train", *training, [data], tmp_path / "model")
    assert info == read_info(tmp_path / "model")
    assert_near(tmp_path / "model", alone(training, data, tmp_path / "alone"))
    (job,) = machines.submitted
    name = job["metadata"]["name"]
    assert machines.deleted == [name]
    assert not JobFiles(f"{training.cluster.states}/jobs/{name}").note(JOB)
    left = s3.client.list_objects_v2(Bucket=s3.bucket, Prefix=f"{tmp_path.name}/jobs/")
    assert left["KeyCount"] == 0
    shown = capsys.readouterr().out
    assert f"TrainJob {name} was submitted" in shown
    assert "node 0 of 2 begins" in shown
    assert "node 1 of 2 begins" not in shown


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_node_is_replaced_and_training_goes_on(
    lost: int, machines: Kubernetes, placed: Placed, data: Path, tmp_path: Path, s3: Any
) -> None:
    training = placed("train.images=4000", "train.save_every=80", "train.log_every=80", "train.evaluate_from=1.0")

    def saved() -> bool:
        there = s3.client.list_objects_v2(Bucket=s3.bucket, Prefix=f"{tmp_path.name}/").get("Contents", [])
        return any(re.search(r"/saves/\d+\.json$", item["Key"]) for item in there)

    when(saved, lambda: machines.kill(machines.pods[lost]))
    launch.run("train", *training, [data], tmp_path / "model")
    assert machines.work
    logs = {file.stem.rpartition("-node-0-")[2]: file.read_text() for file in machines.work.glob("*.log")}
    assert set(logs) == {"0-0", "1-0", f"{lost}-1"}  # the other node kept its container
    assert "goes on from s3://" in logs[f"{lost}-1"]
    kept = logs[f"{1 - lost}-0"].splitlines()
    assert any(line.startswith("error: another rank is lost, and what takes its place is waited for (") for line in kept)
    assert len(kept) < 12 and not any("Traceback" in line or line.startswith("frame #") for line in kept)
    assert_near(tmp_path / "model", alone(training, data, tmp_path / "alone"))


def test_an_error_of_the_training_reaches_the_task_and_ends_the_job(
    machines: Kubernetes, placed: Placed, data: Path, tmp_path: Path
) -> None:
    training = placed("train.max_grad_norm=1.0e-9", "train.on_alarm=stop")
    with pytest.raises(TrainJobError, match="max_grad_norm") as failed:
        launch.run("train", *training, [data], tmp_path / "model")
    assert not isinstance(failed.value, TrainJobLost)
    assert len(machines.deleted) == 1
    assert not (tmp_path / "model").exists()


def test_the_sdk_runs_two_ranks_in_local_processes(placed: Placed, data: Path, tmp_path: Path) -> None:
    """Kubeflow's local backend makes a virtual environment and looks for torchrun in it, which a wheel puts there."""
    from kubeflow.trainer import CustomTrainer, LocalProcessBackendConfig, TrainerClient

    training = placed("train.nodes=2")
    files = JobFiles(f"{training.cluster.states}/jobs/local")
    work = tmp_path / "work"
    known = index(data)
    files.upload(data, DATA, known)
    files.write(JOB, launch.describe("train", *training, {DATA: known}, [DATA]))
    files.download(DATA, known, work / DATA)

    def two_ranks(where: dict[str, str]) -> None:
        from pathlib import Path

        from pipelines.trainjob.node import rank

        rank(where["job"], Path(where["work"]))

    wheel = torchrun_wheel(tmp_path)
    paths = [*filter(None, sys.path), str(ROOT)]
    environment = {**os.environ, "PET_NPROC_PER_NODE": "2", "PET_STANDALONE": "1", "PYTHONPATH": os.pathsep.join(paths)}
    environment |= {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1"}
    client = TrainerClient(LocalProcessBackendConfig())
    name = client.train(
        runtime="torch-distributed",
        trainer=CustomTrainer(
            func=two_ranks,
            func_args={"job": files.uri, "work": str(work)},
            packages_to_install=[f"torchrun @ {wheel.as_uri()}"],
            env=environment,
        ),
    )
    job = client.wait_for_job_status(name, {"Complete", "Failed"}, timeout=300, polling_interval=1)
    log = "".join(client.get_job_logs(name))
    assert job.status == "Complete", log
    made = files.note(CHECKPOINT)
    assert made
    files.download(CHECKPOINT, made, tmp_path / "model")
    assert_near(tmp_path / "model", alone(training, data, tmp_path / "alone"))


def torchrun_wheel(folder: Path) -> Path:
    """A wheel that holds nothing but the command torchrun."""
    path, info = folder / "torchrun-1-py3-none-any.whl", "torchrun-1.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: torchrun\nVersion: 1\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\ntorchrun = torch.distributed.run:main\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def test_fine_tuning_takes_its_base_along(placed: Placed, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = alone(placed(), data, tmp_path / "base")
    cluster = placed().cluster
    tuning = Training.of(load("params.yaml", ["finetune.precision=float32"]), "finetune")
    files = JobFiles(f"{cluster.states}/jobs/finetune")
    indexes = {DATA: index(data), BASE: index(base)}
    for name, folder in ((DATA, data), (BASE, base)):
        files.upload(folder, name, indexes[name])
    files.write(JOB, launch.describe("finetune", tuning.settings, cluster, indexes, [DATA]))
    monkeypatch.setenv("RANK", "0")
    node._fetch(files, tmp_path / "work")
    node.rank(files.uri, tmp_path / "work")
    made = files.note(CHECKPOINT)
    assert made
    files.download(CHECKPOINT, made, tmp_path / "model")
    parent = read_info(tmp_path / "model").parent
    assert parent and parent["run_key"] == read_info(base).run_key


def test_nodes_that_nobody_waits_for_save_and_end(placed: Placed, data: Path, tmp_path: Path) -> None:
    training = placed("train.images=10000000", "train.evaluate_from=1.0", "train.save_every=400")
    files = JobFiles(f"{training.cluster.states}/jobs/left")
    known = index(data)
    files.upload(data, DATA, known)
    files.write(JOB, launch.describe("train", *training, {DATA: known}, [DATA]))
    code = "from pipelines.trainjob import node as n; n.LOOK_SECONDS, n.ABANDONED_SECONDS = 0.5, 10.0; n.main()"
    pet = {"NNODES": 2, "NPROC_PER_NODE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    nodes = []
    with contextlib.ExitStack() as stack:
        for number in range(2):
            environment = {f"PET_{key}": str(value) for key, value in (pet | {"NODE_RANK": number}).items()}
            command = [sys.executable, "-c", code, files.uri, "--work", str(tmp_path / str(number))]
            log = stack.enter_context((tmp_path / f"{number}.log").open("w"))
            nodes.append(subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log))
            stack.callback(kill_all, nodes[-1])
        while not list(tmp_path.glob("[01]/states/*/step-*")):
            assert all(node.poll() is None for node in nodes)
            files.write(ALIVE, {"time": time.time()})
            time.sleep(0.5)
        assert [node.wait(timeout=180) for node in nodes] == [0, 0]
    for number in range(2):
        text = (tmp_path / f"{number}.log").read_text()
        assert "the task that waited for this training is gone" in text
        assert "the state is saved" in text


def test_a_node_refuses_what_it_cannot_do(placed: Placed, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = JobFiles(f"{placed().cluster.states}/jobs/none")
    with pytest.raises(node.NodeError, match=r"PET_NNODES, .* not set"):
        node.node(files.uri, tmp_path)
    for name in (node.NODES, node.NODE, node.RANKS, node.ADDRESS, node.PORT):
        monkeypatch.setenv(name, "0")
    with pytest.raises(node.NodeError, match="no job here"):
        node.node(files.uri, tmp_path)
    files.write(JOB, {"step": "train", "sets": []})
    files.write(FAILED, {"message": "the networks collapsed"})
    with pytest.raises(node.NodeError, match="the networks collapsed"):
        node.node(files.uri, tmp_path)


# --- the job's files


def test_files_come_back_as_they_were_and_changed_ones_are_refused(placed: Placed, data: Path, tmp_path: Path, s3: Any) -> None:
    files = JobFiles(f"{placed().cluster.states}/jobs/files")
    known = index(data)
    assert {entry["size"] for entry in known.values()} and "manifest.json" in known
    files.upload(data, DATA, known)
    files.download(DATA, known, tmp_path / "copy")
    assert index(tmp_path / "copy") == known
    key = f"{tmp_path.name}/jobs/files/data/manifest.json"
    size = known["manifest.json"]["size"]
    s3.client.put_object(Bucket=s3.bucket, Key=key, Body=b"x" * size)
    files.download(DATA, known, tmp_path / "copy")  # is there already
    with pytest.raises(StorageError, match=r"manifest\.json: was changed after the upload"):
        files.download(DATA, known, tmp_path / "other")
    assert not (tmp_path / "other" / "manifest.json").exists()
    files.upload(data, DATA, known, again=True)  # equal in size, so of an earlier attempt
    with pytest.raises(StorageError, match="was changed"):
        files.download(DATA, known, tmp_path / "other")
    files.upload(data, DATA, known)
    files.download(DATA, known, tmp_path / "other")
    with pytest.raises(StorageError, match="which is elsewhere"):
        files.download(DATA, {"../outside": known["manifest.json"]}, tmp_path / "other")
    files.clear()
    assert s3.client.list_objects_v2(Bucket=s3.bucket, Prefix=f"{tmp_path.name}/jobs/files")["KeyCount"] == 0
