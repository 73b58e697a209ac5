"""The verbs that talk to a cluster, against an HTTP server that holds each request to KFP's own API (kfp_server)."""

from __future__ import annotations

import datetime
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kfp_server_api as api
import pytest
from kfp.client.client import _extract_pipeline_yaml

from atelier import command_line
from pipelines import form
from pipelines.client import calls, connection, pods
from pipelines.project import load
from tests.support.cluster_sights import sees_that_a_schedule_is_kept
from tests.support.kfp_fixtures import (
    IMAGE,
    PIPELINE,
    STATES,
    TEXTS,
    TOKEN,
    WORKFLOW,
    Run,
    happens,
    kfp_server,
    run_verb,
    started_run,
    wrapped,
)
from tests.support.kfp_server import Answer, KfpServer
from tests.support.small import PARAMS, ROOT

__all__ = ["kfp_server", "run_verb", "started_run"]

FORMS = pytest.mark.parametrize("form_of", [dict, wrapped], ids=["plain", "wrapped"])
FormOf = Callable[[dict[str, str]], dict[str, str]]


def id_of(path: str) -> str:
    """Argo's number for a node of the workflow."""
    return str(pods._hash(f"{WORKFLOW}{path}"))


def test_submit_starts_a_run(kfp: KfpServer, run: Run, tmp_path: Path) -> None:
    done = run("submit", *PIPELINE, "--set", "train.seed=7", "--set", "train.beta1=0.5", "--name", "seventh")
    (entry,), (experiment,) = kfp.runs.values(), kfp.experiments.values()
    assert (done.code, done.out) == (0, f"{kfp.host}/#/runs/details/{entry.run_id}\n")
    assert (entry.display_name, entry.experiment_id) == ("seventh", experiment.experiment_id)
    settings = load(PARAMS, ["train.seed=7", "train.beta1=0.5"])
    assert entry.runtime_config.parameters == form.filled(settings, load(PARAMS))
    assert entry.runtime_config.parameters["train_seed"] == 7
    assert entry.runtime_config.parameters["overrides"] == {"train.beta1": 0.5}
    assert experiment.display_name == settings.registry.experiment
    would_send = []  # by kfp.Client, of what the tests of this session have compiled
    for number, text in enumerate(TEXTS.values()):
        (tmp_path / f"{number}.yaml").write_text(text, encoding="utf-8")
        would_send.append(_extract_pipeline_yaml(str(tmp_path / f"{number}.yaml")).to_dict())
    assert entry.pipeline_spec in would_send

    assert run("submit", *PIPELINE, "--experiment", settings.registry.experiment).code == 0
    assert len(kfp.runs) == 2 and len(kfp.experiments) == 1
    assert run("submit", *PIPELINE, "--experiment", "50 % + more").code == 0
    assert run("submit", *PIPELINE, "--experiment", "50 % + more").code == 0
    assert {one.display_name for one in kfp.experiments.values()} == {settings.registry.experiment, "50 % + more"}


def test_two_that_create_the_experiment_share_it(kfp: KfpServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody creates it between our look and our creation."""
    looked = kfp.experiment_service_list_experiments

    def look(**query: Any) -> Any:
        found = looked(**query)
        if not kfp.experiments:
            kfp.experiment_service_create_experiment(api.V2beta1Experiment(display_name="atelier", namespace="kubeflow"))
        return found

    monkeypatch.setattr(kfp, "experiment_service_list_experiments", look)
    assert run("submit", *PIPELINE, "--experiment", "atelier").code == 0
    assert len(kfp.experiments) == 1 and len(kfp.runs) == 1


def test_a_dry_run_prints_what_would_be_sent_and_sends_nothing(kfp: KfpServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_TOKEN", TOKEN)
    arguments = ("submit", *PIPELINE, "--set", "train.seed=7", "--name", "x")
    done = run(*arguments, "--dry-run")
    assert done.code == 0 and kfp.requests == []
    assert TOKEN not in done.out + done.err and "login: a bearer token" in done.err
    assert "train_seed: 0 -> 7" in done.err and f"image: {IMAGE}" in done.err and "KiB" in done.err
    printed = re.split(r"^(GET|POST) (\S+).*\n", done.out, flags=re.MULTILINE)
    assert [*printed[1::3]] == ["GET", "POST", "POST"]
    assert run(*arguments).code == 0
    (sent,) = kfp.runs.values()
    assert [f"{how} {urlsplit(where).path}" for how, where in zip(printed[1::3], printed[2::3], strict=True)] == kfp.requests
    said = json.loads(printed[-1])
    assert said.pop("experiment_id") == "<id of experiment atelier>"
    assert said["pipeline_spec"] == sent.pipeline_spec
    assert said["runtime_config"]["parameters"] == sent.runtime_config.parameters
    assert set(said) == {"display_name", "pipeline_spec", "runtime_config"}


def test_upload_keeps_one_version_for_each_content(kfp: KfpServer, run: Run) -> None:
    first = run("upload", *PIPELINE, "--description", "the first")
    (pipeline,), (version,) = kfp.pipelines.values(), kfp.versions.values()
    assert first.code == 0 and pipeline.display_name == "atelier"
    assert first.out.splitlines() == [
        f"uploaded: version {version.name}",
        f"{kfp.host}/#/pipelines/details/{pipeline.pipeline_id}/version/{version.pipeline_version_id}",
    ]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert re.fullmatch(rf"({commit}\+?|no-git)-[0-9a-f]{{8}}", version.name)
    assert version.tags["content"].startswith(version.name[-8:]) and version.description.startswith("the first (content sha256:")
    assert version.pipeline_spec["pipeline_spec"]["pipelineInfo"]["name"] == "atelier"

    again = run("upload", *PIPELINE, "--name", "another name")
    assert (again.code, len(kfp.versions)) == (0, 1) and f"is there already, byte for byte: version {version.name}" in again.out
    other = ("--image", IMAGE.replace("a" * 64, "b" * 64))
    assert run("upload", *other, "--name", "release 2").code == 0
    assert [one.name for one in kfp.versions.values()] == [version.name, "release 2"]
    kfp.page_size = 1  # the first version is now on the second page
    assert "is there already" in run("upload", *PIPELINE).out and len(kfp.versions) == 2

    taken = run("upload", "--image", IMAGE.replace("a" * 64, "c" * 64), "--name", "release 2")
    assert taken.code == 1 and "exists already (409" in taken.err and "--name" in taken.err


def test_schedules(kfp: KfpServer, run: Run) -> None:
    done = run(
        "schedule", "create", *PIPELINE, "--cron", "0 0 6 * * 1", "--start", "2026-12-01", "--end", "2027-01-01T00:00+01:00",
        "--no-catch-up", "--max-concurrency", "2", "--name", "weekly",
    )  # fmt: skip
    (entry,) = kfp.schedules.values()
    assert done.code == 0 and f"/#/recurringrun/details/{entry.recurring_run_id}" in done.out
    assert (entry.trigger.cron_schedule.cron, entry.trigger.periodic_schedule) == ("0 0 6 * * 1", None)
    assert entry.trigger.cron_schedule.start_time == datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC)
    assert entry.trigger.cron_schedule.end_time == datetime.datetime(2026, 12, 31, 23, tzinfo=datetime.UTC)
    assert (entry.no_catchup, entry.max_concurrency, entry.mode) == (True, "2", "ENABLE")
    assert entry.runtime_config.parameters == form.filled(load(PARAMS), load(PARAMS))

    twice = run("schedule", "create", *PIPELINE, "--every", "7d", "--name", "weekly")
    assert twice.code == 1 and f"schedule delete {entry.recurring_run_id}" in twice.err and len(kfp.schedules) == 1
    assert run("schedule", "create", *PIPELINE, "--every", "12h").code == 0
    periodic = list(kfp.schedules.values())[1]
    assert periodic.trigger.periodic_schedule.interval_second == "43200" and periodic.display_name == "atelier every 12:00:00"

    paused = run("schedule", "pause", entry.recurring_run_id)
    assert paused.code == 0 and "what runs goes on" in paused.out
    listed = run("schedule", "list").out
    assert entry.status == "DISABLED" and "disabled" in listed and "enabled" in listed and entry.recurring_run_id in listed
    assert run("schedule", "resume", f"{kfp.host}/#/recurringrun/details/{entry.recurring_run_id}").code == 0
    assert entry.status == "ENABLED"
    assert run("schedule", "delete", entry.recurring_run_id).code == 0
    assert list(kfp.schedules) == [periodic.recurring_run_id]
    gone = run("schedule", "pause", entry.recurring_run_id)
    assert gone.code == 1 and "not found" in gone.err and "schedule list" in gone.err


def of_schedule(kfp: KfpServer, schedule: Any, state: str) -> Any:
    """A run that a schedule started."""
    made = kfp.run_service_create_run(
        api.V2beta1Run(
            display_name="daily 7",
            experiment_id=schedule.experiment_id,
            pipeline_spec=schedule.pipeline_spec,
            runtime_config=schedule.runtime_config,
        )
    )
    made.recurring_run_id, made.state = schedule.recurring_run_id, state
    return made


def test_a_schedule_of_which_a_run_goes_on_is_not_deleted(kfp: KfpServer, run: Run) -> None:
    for name in ("daily", "weekly"):
        assert run("schedule", "create", *PIPELINE, "--every", "1d", "--name", name).code == 0
    daily, weekly = kfp.schedules.values()
    of_schedule(kfp, daily, "SUCCEEDED")
    going, other = of_schedule(kfp, daily, "RUNNING"), of_schedule(kfp, weekly, "RUNNING")
    kfp.page_size = 1  # it is on the second page of those that go on
    refused = run("schedule", "delete", daily.recurring_run_id)
    assert refused.code == 1 and len(kfp.schedules) == 2 and going.state == "RUNNING"
    assert f"not deleted, since runs of it have not ended: {going.run_id} (running)." in refused.err
    assert f"schedule pause {daily.recurring_run_id}" in refused.err and "--force" in refused.err

    stuck = run("schedule", "delete", daily.recurring_run_id, "--force")
    assert stuck.code == 1 and f"paused and not deleted: {going.run_id} goes on" in stuck.err
    assert (daily.status, going.state, len(kfp.schedules)) == ("DISABLED", "CANCELING", 2)
    started = of_schedule(kfp, daily, "PENDING")
    going.state = "SUCCEEDED"
    kfp.on_get_run = [lambda _: None, lambda _: None, lambda run: setattr(run, "state", "FAILED")]
    sees_that_a_schedule_is_kept(run, daily.recurring_run_id, started.run_id)
    assert list(kfp.schedules) == [weekly.recurring_run_id]
    assert other.state == "RUNNING"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cron", "0 6 * * 1"], "write six fields, the first for seconds, such as '0 0 6 * * 1'"),
        (["--every", "weekly"], "such as 12h"),
        (["--every", "1h", "--cron", "@daily"], "not allowed with"),
        ([], "one of the arguments --cron --every is required"),
        (["--every", "1h", "--start", "soon"], "write a time as 2026-12-01T06:00"),
        (["--every", "1h", "--max-concurrency", "11"], "invalid choice"),
    ],
)
def test_a_schedule_that_means_something_else_is_refused(options: list[str], said: str, kfp: KfpServer, run: Run) -> None:
    done = run("schedule", "create", *PIPELINE, *options)
    assert done.code == 2 and said in done.err and kfp.requests == []


def test_a_schedule_that_ends_before_it_starts_is_refused(kfp: KfpServer, run: Run) -> None:
    done = run("schedule", "create", *PIPELINE, "--every", "1h", "--start", "2026-12-02", "--end", "2026-12-01")
    assert done.code == 1 and "--end is not after --start" in done.err and kfp.requests == []


@FORMS
def test_status(kfp: KfpServer, run: Run, started: Any, form_of: FormOf) -> None:
    happens(started, "RUNNING", form_of(STATES))
    assert run("submit", *PIPELINE, "--name", "the newest").code == 0
    listed = run("status").out
    assert listed.index("the newest") < listed.index("the run") and started.run_id in listed and "running" in listed
    assert "the run" not in run("status", "--limit", "1").out

    told = run("status", f"{kfp.host}/#/runs/details/{started.run_id}").out
    assert "the run: running" in told
    rows = [tuple(line.split()[:2]) for line in told.splitlines()[2:]]
    assert rows == [("task", "state"), ("check", "succeeded"), ("train", "running"), ("register", "pending")]
    assert "0:01:30" in told and "1970" not in told
    assert not re.search(r"driver|executor|exit-handler|x7k2f", told)

    started.error = api.GoogleRpcStatus(code=3, message="no such\nimage")
    assert "no such image" in run("status", started.run_id).out


def test_status_without_anything(kfp: KfpServer, run: Run) -> None:
    none = run("status")
    assert none.code == 1 and "no experiment 'atelier' in namespace 'kubeflow'" in none.err
    kfp.experiment_service_create_experiment(api.V2beta1Experiment(display_name="atelier", namespace="kubeflow"))
    assert run("status").out == "no runs; `submit` starts one\n"
    assert run("schedule", "list").out == "no schedules; `schedule create` makes one\n"


def test_argos_ids() -> None:
    assert pods._hash("resubmit-hl9ft.A") == 3929423573  # from a workflow that Argo ran


@pytest.mark.parametrize(
    ("form_of", "check", "train"),
    [
        (dict, ".root.exit-handler-1.check.executor", ".root.exit-handler-1.train.executor"),
        (wrapped, "(0).root(0).exit-handler-1(0).check(0).executor(0)", "(0).root(0).exit-handler-1(0).train(0).executor"),
    ],
    ids=["plain", "wrapped"],
)
def test_logs_come_from_the_pods_of_all_attempts(
    kfp: KfpServer, run: Run, started: Any, form_of: FormOf, check: str, train: str
) -> None:
    happens(started, "RUNNING", form_of(STATES))
    kfp.logs = {
        f"{WORKFLOW}-system-container-impl-{id_of(check)}": "all is well\n",
        f"{WORKFLOW}-retry-system-container-impl-{id_of(f'{train}(1)')}": "{}",
        f"{WORKFLOW}-retry-system-container-impl-{id_of(f'{train}(0)')}": "<lost> its node",
    }
    assert run("logs", started.run_id, "train").out == "<lost> its node\n{}\n"
    every = run("logs", started.run_id)
    assert every.code == 0
    assert "==> check (succeeded)\nall is well\n==> train (running)\n<lost> its node\n" in every.out
    assert "no log of task register (it had no pod" in every.out and "executor-logs" in every.out

    unknown = run("logs", started.run_id, "trian")
    assert unknown.code == 1 and "no task 'trian'; its tasks: check, train, register" in unknown.err
    kfp.logs.clear()
    gone = run("logs", started.run_id, "check")
    assert gone.code == 1 and "The specified key does not exist" in gone.err and "executor-logs" in gone.err
    assert f"kubectl logs -n kubeflow -l pipeline/runid={started.run_id} -c main" in gone.err


def test_a_server_that_names_the_pod_is_believed(kfp: KfpServer, run: Run, started: Any) -> None:
    happens(started, "RUNNING", {"root": "RUNNING", "root.check": "SUCCEEDED"})
    started.run_details.task_details[-1].pod_name = "a-pod"
    kfp.logs = {"a-pod": "all is well\n"}
    assert run("logs", started.run_id, "check").out == "all is well\n"


@FORMS
def test_wait_tells_each_new_state_once(kfp: KfpServer, run: Run, started: Any, form_of: FormOf) -> None:
    first, last = form_of(STATES), form_of(dict.fromkeys(STATES, "SUCCEEDED"))
    kfp.on_get_run = [
        happens(started, "RUNNING", first),
        happens(started, "RUNNING", first),
        happens(started, "SUCCEEDED", last),
    ]
    done = run("wait", started.run_id)
    told = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in done.out.splitlines()]
    assert done.code == 0
    assert told[:6] == [
        "check: succeeded",
        "train: running",
        "register: pending",
        "train: succeeded",
        "register: succeeded",
        told[5],
    ]
    assert told[5] == f"succeeded after 0:07:00: {kfp.host}/#/runs/details/{started.run_id}" and len(told) == 6


@pytest.mark.parametrize(
    ("error", "said"),
    [(None, "task train (no reason given)"), ("OOMKilled", "task train (OOMKilled)")],
)
@FORMS
def test_waiting_for_a_run_that_fails(
    error: str | None, said: str, kfp: KfpServer, run: Run, started: Any, form_of: FormOf
) -> None:
    happens(started, "FAILED", form_of({**STATES, "root.exit-handler-1.train": "FAILED"}))
    if error:
        (train,) = [task for task in started.run_details.task_details if task.display_name == "train"]
        train.state_history = [api.V2beta1RuntimeStatus(state="FAILED", error=api.GoogleRpcStatus(code=2, message=error))]
    done = run("wait", started.run_id)
    assert done.code == 1 and f"run {started.run_id} failed: {said}" in done.err
    assert f"python -m pipelines logs {started.run_id} train" in done.err
    started.state = "CANCELED"
    assert f"run {started.run_id} terminated" in run("wait", started.run_id, "--timeout", "5s").err


def test_waiting_has_an_end(kfp: KfpServer, run: Run, started: Any) -> None:
    happens(started, "RUNNING", STATES)
    done = run("wait", started.run_id, "--timeout", "1s")
    assert done.code == 3 and "is running after 1 s and goes on" in done.err
    assert started.state == "RUNNING" and "POST" not in kfp.requests[-1]


def test_submit_can_wait(kfp: KfpServer, run: Run) -> None:
    kfp.on_get_run = [lambda entry: happens(entry, "FAILED", {"root": "FAILED", "root.check": "FAILED"})(entry)]
    done = run("submit", *PIPELINE, "--wait")
    assert done.code == 1 and "/#/runs/details/" in done.out and "task check" in done.err


def test_waiting_outlives_a_server_that_is_away(kfp: KfpServer, run: Run, started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    happens(started, "SUCCEEDED", STATES)
    away = [Answer(503, "upstream connect error", "text/plain")] * 3 * (connection.RETRIES + 1)
    kfp.instead = [*away]
    done = run("wait", started.run_id)
    assert done.code == 0 and done.out.count("asking again") == 1 and "upstream connect error" in done.out
    assert kfp.instead == []

    monkeypatch.setattr(calls, "PATIENCE_SECONDS", 0.0)
    kfp.instead = [*away]
    done = run("wait", started.run_id)
    assert done.code == 1 and "try again when it is up" in done.err


def test_ctrl_c_leaves_the_run_running(kfp: KfpServer, started: Any) -> None:
    asked = threading.Event()
    kfp.on_get_run = [lambda _: asked.set()]
    command = [sys.executable, "-m", "pipelines", "wait", "--host", kfp.host, started.run_id]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a session in the background hands on that it is ignored
    waiting = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    try:
        assert asked.wait(120)
        waiting.send_signal(signal.SIGINT)
        _, err = waiting.communicate(timeout=60)
    finally:
        waiting.kill()
    assert waiting.returncode == command_line.INTERRUPTED
    assert f"the run goes on; follow it again with `python -m pipelines wait {started.run_id}`" in err and "Traceback" not in err
    assert not any(":terminate" in request for request in kfp.requests)


def test_terminate(kfp: KfpServer, run: Run, started: Any) -> None:
    done = run("terminate", started.run_id)
    assert done.code == 0 and started.state == "CANCELING"
    assert "Kubeflow will call the run failed, MLflow killed" in done.out and "canceled" not in done.out


def test_terminating_what_has_ended_or_is_gone(kfp: KfpServer, run: Run, started: Any) -> None:
    happens(started, "SUCCEEDED", STATES)
    assert run("terminate", started.run_id).out == "it has ended already: succeeded\n"
    happens(started, "RUNNING", STATES)
    kfp.lost = {started.run_id}
    first, again = run("terminate", started.run_id), run("terminate", started.run_id)
    assert first.code == again.code == 0 and first.out == again.out and "its workflow is gone" in first.out
    kfp.instead = [Answer(400, "Row not found")]
    happens(started, "RUNNING", STATES)
    refused = run("terminate", started.run_id)
    assert refused.code == 1 and "Row not found" in refused.err
