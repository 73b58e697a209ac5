"""What a user sees of a run on a cluster: the same assertions on a real one (tests/cluster) and on recorded answers."""

from __future__ import annotations

import re
from collections.abc import Collection

from tests.support.kfp_fixtures import Run


def sees_a_success(run: Run, run_id: str, tasks: Collection[str]) -> None:
    """`wait` ends well, and `status` has each of these tasks once, succeeded."""
    waited = run("wait", run_id)
    assert waited.code == 0, waited.err
    assert "succeeded after" in waited.out and f"/#/runs/details/{run_id}" in waited.out
    told = run("status", run_id).out
    assert ": succeeded, " in told.splitlines()[0]
    assert states(told) == {task: ["succeeded"] for task in tasks}


def sees_a_failure(run: Run, run_id: str, task: str, last_line: str) -> None:
    """`wait` names the task that failed and the command for its log, whose end says why."""
    waited = run("wait", run_id)
    assert waited.code == 1 and f"run {run_id} failed: task {task} (" in waited.err, waited.err
    assert f"python -m pipelines logs {run_id} {task}" in waited.err
    assert states(run("status", run_id).out)[task] == ["failed"]
    log = run("logs", run_id, task)
    assert log.code == 0 and last_line in log.out[-3000:], log.out[-3000:] + log.err


def sees_an_end_by_hand(run: Run, run_id: str) -> None:
    """`wait` and `status` say that somebody ended the run, which Kubeflow calls failed."""
    waited = run("wait", run_id)
    assert waited.code == 1 and f"run {run_id} terminated: " in waited.err, waited.err
    assert ": terminated, " in run("status", run_id).out.splitlines()[0]
    again = run("terminate", run_id)
    assert again.code == 0 and "it has ended already: terminated" in again.out


def sees_that_a_schedule_is_kept(run: Run, schedule: str, run_id: str) -> None:
    """`schedule delete` names the run that goes on and the ways out, and `--force` stops it first."""
    refused = run("schedule", "delete", schedule)
    assert refused.code == 1 and f"not deleted, since runs of it have not ended: {run_id} (" in refused.err, refused.err
    assert f"schedule pause {schedule}" in refused.err and schedule in run("schedule", "list").out
    done = run("schedule", "delete", schedule, "--force")
    assert done.code == 0 and f"stopped: {run_id}" in done.out and "deleted" in done.out, done.out + done.err
    assert schedule not in run("schedule", "list").out


def states(told: str) -> dict[str, list[str]]:
    """The states of each task in what `status RUN` prints."""
    found: dict[str, list[str]] = {}
    for line in told[told.index("\ntask ") + 1 :].splitlines()[1:]:
        task, state = re.split(r"\s+", line.strip())[:2]
        found.setdefault(task, []).append(state)
    return found
