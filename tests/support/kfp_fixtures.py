"""What the tests of the cluster's command line share: the server, the verbs, and runs in various states."""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import kfp_server_api as api
import pytest

from components import cli
from pipelines import __main__ as command_line
from pipelines import runners
from pipelines.client import calls, connection, schedules, tasks
from tests.support.kfp_server import NEVER, KfpServer, serving
from tests.support.small import ROOT

IMAGE = f"registry.example/atelier@sha256:{'a' * 64}"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0.c2lnbmF0dXJl"
PIPELINE = ("--image", IMAGE)
TEXTS: dict[str, str] = {}


@dataclass
class Done:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture(name="kfp")
def kfp_server() -> Iterator[KfpServer]:
    with serving() as server:
        yield server
    assert server.violations == []


@pytest.fixture(name="run")
def run_verb(kfp: KfpServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run(verb, ...)`: python -m pipelines VERB ... in this process, at the server of the test."""
    for name in ("KFP_TOKEN", "KFP_SESSION", "KFP_NAMESPACE", "SSL_CERT_FILE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KFP_HOST", kfp.host)
    monkeypatch.setattr(connection, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(calls, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(schedules, "STOP_SECONDS", 1.0)
    monkeypatch.setattr(calls, "compiled", compiled)
    monkeypatch.chdir(ROOT)

    def call(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["pipelines", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as raised:
            cli.run(command_line.main)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Done(int(raised.value.code or 0), said.out, said.err)

    return call


def compiled(cluster: Any, project: Any) -> str:
    """Compiling takes a second: once for each cluster and project."""
    key = repr((cluster, project))
    if key not in TEXTS:
        TEXTS[key] = runners.compiled(cluster, project)
    return TEXTS[key]


@pytest.fixture(name="started")
def started_run(kfp: KfpServer, run: Run) -> Any:
    """A run on the server."""
    assert run("submit", *PIPELINE, "--name", "the run").code == 0
    (entry,) = kfp.runs.values()
    return entry


def wrapped(states: dict[str, str]) -> dict[str, str]:
    """The same nodes where Argo wraps each in one that repeats it, as the manifests of KFP 2.17 have it."""
    found = {"(0)": "RUNNING"}
    for path, state in states.items():
        inner = "(0)." + re.sub(r"\.", "(0).", re.sub(r"\(\d+\)$", "", path))
        attempt = re.search(r"\(\d+\)$", path)
        found |= {f"{inner}{attempt[0]}": state} if attempt else {inner: state, f"{inner}(0)": state}
    return found


def nodes(workflow: str, states: dict[str, str], whole: str = "RUNNING") -> list[Any]:
    """The nodes of a workflow as KFP 2.17 tells of them: names without paths, and the ids of the nodes below."""

    def node(path: str) -> str:
        return f"{workflow}-{reduce(lambda value, byte: (value ^ byte) * 16777619 % 2**32, path.encode(), 2166136261)}"

    plain = {path if path.startswith("(") else f".{path}": state for path, state in states.items()}
    states = {workflow: whole, **{f"{workflow}{path}": state for path, state in plain.items()}}
    result = []
    for number, (path, state) in enumerate(states.items()):
        below = [one for one in states if re.fullmatch(rf"{re.escape(path)}(\.[^.(]+|\(\d+\))", one)]
        begun = datetime.datetime(2026, 11, 24, 8, number, tzinfo=datetime.UTC)
        result.append(
            api.V2beta1PipelineTaskDetail(
                task_id=f"task-{number}",
                display_name=path.rpartition(".")[2],
                state=state,
                start_time=NEVER if state == "PENDING" else begun,
                end_time=begun + datetime.timedelta(seconds=90) if state in tasks.FINISHED else NEVER,
                child_tasks=[api.PipelineTaskDetailChildTask(pod_name=node(one)) for one in below] or None,
            )
        )
    return result


def happens(entry: Any, state: str, states: dict[str, str]) -> Callable[[Any], None]:
    """Sets the state of a run and of its nodes; those of a run that is over do not go on."""

    over = {"RUNNING": state, "PENDING": "SKIPPED"} if state in tasks.FINISHED else {}

    def change(run: Any) -> None:
        run.state = state
        given = {path: over.get(one, one) for path, one in states.items()}
        run.run_details = api.V2beta1RunDetails(task_details=nodes(WORKFLOW, given, over.get("RUNNING", "RUNNING")))
        run.finished_at = run.created_at + datetime.timedelta(minutes=7) if state in tasks.FINISHED else NEVER

    change(entry)
    return change


WORKFLOW = "atelier-x7k2f"
STATES = {
    "root-driver": "SUCCEEDED",
    "root": "RUNNING",
    "root.exit-handler-1": "RUNNING",
    "root.exit-handler-1.check-driver": "SUCCEEDED",
    "root.exit-handler-1.check": "SUCCEEDED",
    "root.exit-handler-1.check.executor": "SUCCEEDED",
    "root.exit-handler-1.train-driver": "SUCCEEDED",
    "root.exit-handler-1.train": "RUNNING",
    "root.exit-handler-1.train.executor": "RUNNING",
    "root.exit-handler-1.train.executor(0)": "FAILED",
    "root.exit-handler-1.train.executor(1)": "RUNNING",
    "root.exit-handler-1.register": "PENDING",
}
