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
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment without a login of MLflow, which is as before at the end whatever a test's task writes into it."""
    before = dict(os.environ)
    for name in (*LOGIN, *SECRETS.values(), "MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "KFP_MLFLOW_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow")
    yield
    os.environ.clear()
    os.environ.update(before)


def test_no_key_of_the_secret_becomes_a_variable_of_the_plugin() -> None:
    written = {"MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_WORKSPACE", "MLFLOW_TRACKING_AUTH", *LOGIN}
    assert not written & {*SECRETS.values()} and {*LOGIN} < {*SECRETS}


def test_the_secrets_login_is_mlflows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("SECRET_MLFLOW_TRACKING_PASSWORD", "lovelace")
    environment.settle()
    assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == ("ada", "lovelace")
    assert "MLFLOW_TRACKING_TOKEN" not in os.environ


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_USERNAME"])
def test_the_plugins_login_comes_first(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "the plugin's")
    monkeypatch.setenv("SECRET_MLFLOW_TRACKING_TOKEN", "ours")
    environment.settle()
    assert "MLFLOW_TRACKING_TOKEN" not in os.environ


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
    for execute in (Bound(work, "work").execute, Check((), ()).execute):  # the first task of a run says so, too
        with pytest.raises(SystemExit):
            execute({})
        (line,) = capsys.readouterr().err.splitlines()
        assert re.search(said, line)


def of_nodes() -> dict[str, dict[str, object]]:
    cluster = load(PARAMS, ["cluster.states=s3://bucket/states"]).cluster
    job = launch.manifest("atelier-train-0", 2, cluster, "image", "s3://b/jobs/n", 60)
    return {entry.pop("name"): entry for entry in job["spec"]["trainer"]["env"]}


def test_nodes_log_in_by_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_MLFLOW_TRACKING_TOKEN", "of-mlflow")
    environment.settle()
    found = of_nodes()
    assert found["MLFLOW_TRACKING_TOKEN"] == {
        "valueFrom": {"secretKeyRef": {"name": "atelier", "key": "MLFLOW_TRACKING_TOKEN", "optional": True}}
    }
    assert "of-mlflow" not in str(found) and not ({*SECRETS.values()} - {*SECRETS}) & {*found}


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
