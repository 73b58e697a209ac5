"""What a task makes of its environment: its login, the remedy where there is no MLflow, and the volume that it writes to."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines import environment
from pipelines.check import Check
from pipelines.environment import LOGIN, SECRETS, VolumeError
from pipelines.project import load
from pipelines.task import Bound
from pipelines.trainjob import launch
from tests.support.interrupted_task import work
from tests.support.small import PARAMS

PLUGIN_CONFIG = {"endpoint": "http://mlflow", "parentRunId": "parent", "experimentId": "2", "injectUserEnvVars": True}


@pytest.fixture(autouse=True)
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The Secret's folder. The environment has no login of MLflow, and is as before at the end whatever a task writes into it."""
    before = dict(os.environ)
    folder = tmp_path / "secret"
    folder.mkdir()
    monkeypatch.setattr(environment, "SECRET", folder)
    for name in (*SECRETS, "MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "KFP_MLFLOW_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow")
    yield folder
    os.environ.clear()
    os.environ.update(before)


def test_what_the_secret_holds_becomes_the_environment(secret: Path) -> None:
    held = {"AWS_ACCESS_KEY_ID": "key", "MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "lovelace\n", "PATH": "/"}
    for key, value in held.items():
        (secret / key).write_text(value)
    before = {*os.environ}
    environment.settle()
    assert {*os.environ} - before == {"AWS_ACCESS_KEY_ID", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "lovelace" and os.environ["PATH"] != "/"


def test_a_secret_that_is_not_there_is_none_to_take(secret: Path) -> None:
    secret.rmdir()
    before = dict(os.environ)
    environment.settle()
    assert dict(os.environ) == before


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_USERNAME"])
def test_the_plugins_login_comes_first(name: str, secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "the plugin's")
    for key in ("MLFLOW_TRACKING_TOKEN", "AWS_ACCESS_KEY_ID"):
        (secret / key).write_text("ours")
    environment.settle()
    assert "MLFLOW_TRACKING_TOKEN" not in os.environ and os.environ["AWS_ACCESS_KEY_ID"] == "ours"


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        (None, "submit with --tracking-uri, or turn on the MLflow plugin .* injectUserEnvVars: true"),
        ({**PLUGIN_CONFIG, "injectUserEnvVars": False}, "plugin of Kubeflow Pipelines is on, .* set injectUserEnvVars: true"),
    ],
)
def test_a_task_says_why_there_is_no_mlflow(
    plugin: object, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    if plugin:
        monkeypatch.setenv("KFP_MLFLOW_CONFIG", json.dumps(plugin))
    for execute in (Bound(work, "work").execute, Check(load(PARAMS), {}).execute):  # the first task of a run says so, too
        with pytest.raises(SystemExit):
            execute({})
        (line,) = capsys.readouterr().err.splitlines()
        assert re.search(said, line)


def of_nodes() -> dict[str, dict[str, object]]:
    cluster = load(PARAMS, ["cluster.states=s3://bucket/states"]).cluster
    job = launch.manifest("atelier-train-0", 2, cluster, "image", "s3://b/jobs/n", 60)
    return {entry.pop("name"): entry for entry in job["spec"]["trainer"]["env"]}


def test_nodes_log_in_by_the_secret(secret: Path) -> None:
    (secret / "MLFLOW_TRACKING_TOKEN").write_text("of-mlflow")
    environment.settle()
    found = of_nodes()
    assert found["MLFLOW_TRACKING_TOKEN"] == {
        "valueFrom": {"secretKeyRef": {"name": "atelier", "key": "MLFLOW_TRACKING_TOKEN", "optional": True}}
    }
    assert "of-mlflow" not in str(found)


def test_nodes_log_in_by_the_plugins_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_MLFLOW_CONFIG", json.dumps({**PLUGIN_CONFIG, "credentialSecretRef": {"tokenKey": "token"}}))
    monkeypatch.setenv("MLFLOW_RUN_ID", "nested")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "the plugin's")
    found = of_nodes()
    assert found["MLFLOW_TRACKING_TOKEN"] == {"valueFrom": {"secretKeyRef": {"name": "kfp-mlflow-credentials", "key": "token"}}}
    assert not {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"} & {*found} and "the plugin's" not in str(found)


def test_nodes_log_in_as_their_service_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_AUTH", "kubernetes-namespaced")
    monkeypatch.setenv("MLFLOW_WORKSPACE", "team")
    found = of_nodes()
    assert found["MLFLOW_TRACKING_AUTH"] == {"value": "kubernetes-namespaced"} and found["MLFLOW_WORKSPACE"] == {"value": "team"}
    assert not {*LOGIN} & {*found}


def as_the_images_user(act: Callable[[], None]) -> str:
    """What an act raises as user 10001 of group 0, or "" where it is allowed."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setgroups([])
        os.setgid(0)
        os.setuid(10001)
        try:
            act()
        except VolumeError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as said:
        return said.read()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become the images' user")
def test_a_volume_of_root_alone_is_refused_with_what_makes_it_good(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders let nobody else in
        volume = Path(folder)
        volume.chmod(0o755)
        monkeypatch.setenv("ATELIER_STATES", str(volume / "states"))
        refusal = as_the_images_user(environment.check_volume)
        assert "states cannot be written by user 10001, group 0 (Permission denied)" in refusal
        assert "chgrp 0 and chmod g+rwx" in refusal
        volume.chmod(0o775)
        assert as_the_images_user(environment.check_volume) == "" and (volume / "states").is_dir()


def test_a_task_says_that_its_volume_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "volume").write_text("")
    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path / "volume" / "cache"))
    with pytest.raises(VolumeError, match=r"volume/cache cannot be written .*--state-claim"):
        environment.check_volume()


def test_without_a_volume_nothing_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ATELIER_STATES", "ATELIER_CACHE"):
        monkeypatch.delenv(name, raising=False)
    environment.check_volume()
