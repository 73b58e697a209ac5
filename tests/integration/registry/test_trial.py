"""What a pipeline will need of MLflow is tried before anything is computed, and leaves nothing but the pipeline's run."""

from __future__ import annotations

import socket
from pathlib import Path

import mlflow
import pytest

from atelier.tracking.place import TrackingError
from atelier.tracking.trial import FILE, try_mlflow
from tests.support.mlflow_servers import SqliteServer

NAME = "mlflow.mlflow.svc"  # as in docs/kubeflow.md; MLflow takes addresses of private networks and localhost only, unless told


@pytest.fixture(name="server")
def server_fixture(sqlite_server: SqliteServer) -> SqliteServer:
    return sqlite_server


@pytest.fixture(autouse=True)
def in_a_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_PIPELINE_RUN", "tried")


def test_it_leaves_the_pipelines_run_alone(server: SqliteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    try_mlflow("tried")
    try_mlflow("tried")
    client = mlflow.MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("tried")
    assert experiment
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "RUNNING" and not client.list_artifacts(run.info.run_id)
    assert not list(server.home.rglob(FILE))


def test_a_server_that_refuses_the_name_is_told_how(server: SqliteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    known = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *more, **named: known(host.replace(NAME, "127.0.0.1"), *more, **named)
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{NAME}:{server.port}")
    with pytest.raises(TrackingError, match=rf"mlflow server --allowed-hosts {NAME}:{server.port}"):
        try_mlflow("tried")


def test_a_store_that_cannot_be_written_is_found(server: SqliteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    artifacts = server.home / "artifacts"
    artifacts.rename(server.home / "gone")
    artifacts.write_text("in the way of a folder")
    try:
        with pytest.raises(TrackingError, match="cannot be used"):
            try_mlflow("unwritable")
    finally:
        artifacts.unlink()
        (server.home / "gone").rename(artifacts)


def test_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/own.db")
    try_mlflow("tried")
    assert not list(tmp_path.rglob(FILE))
