"""What the API tells of a run's tasks, and when that cannot be believed.

Of each node of Argo's workflow the API gives a row: its name without the path, its state, and the ids of the nodes below. 2.17
wraps every node in one that repeats it, so a task NAME has a second row NAME(0); a task that was taken from the cache adds rows
without a name. Once a workflow's specification and nodes together pass 1 MiB, Argo compresses the nodes, and the API goes on
serving the last rows that came uncompressed.
"""

from __future__ import annotations

import datetime
import re
from typing import Any

import kfp_server_api as api

from pipelines.client.connection import Server

FINISHED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
GOING = ("PENDING", "RUNNING")
# Nodes of Kubeflow's own around each task of ours: what prepares it, its attempts, and the groups that hold it.
HELPERS = re.compile(
    r"root|executor|.*-driver|(exit-handler|condition|condition-branches|for-loop)-\d+.*|iteration-item|iteration-iterations.*"
)
ATTEMPT = re.compile(r"\(\d+\)$")
DRIVER_MINUTES = 10  # what prepares a task takes seconds; its image may have to be pulled


def tasks(run: api.V2beta1Run) -> list[api.V2beta1PipelineTaskDetail]:
    """The tasks of a run in the order in which they began, without the rows that Kubeflow adds."""
    every = rows(run)
    names = {row.display_name for row in every}
    workflows = {child.rpartition("-")[0] for row in every for child in below(row)}
    ours = []
    for row in every:
        name = ATTEMPT.sub("", row.display_name)
        repeated = name != row.display_name and name in names
        if not repeated and name not in workflows and not HELPERS.fullmatch(name):
            ours.append(row)
    return sorted(ours, key=lambda row: moment(row.start_time) or datetime.datetime.max.replace(tzinfo=datetime.UTC))


def rows(run: api.V2beta1Run) -> list[api.V2beta1PipelineTaskDetail]:
    """Every row of a run that has a name."""
    every = run.run_details.task_details if run.run_details else None
    return [row for row in every or () if row.display_name]


def below(row: api.V2beta1PipelineTaskDetail) -> list[str]:
    """Argo's ids of the nodes below a row's."""
    return [child.pod_name for child in row.child_tasks or () if child.pod_name]


def standing_still(run: api.V2beta1Run) -> str:
    """Why the rows of a run are not its present ones; empty where nothing speaks against them.

    They contradict the run's own state, or what prepares a task has been at it for longer than it can.
    """
    going = [row for row in rows(run) if row.state in GOING]
    if run.state in FINISHED and going:
        why = f"the run is {word(run.state)}, and its list of tasks has {len(going)} that have not ended"
    else:
        long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=DRIVER_MINUTES)
        began = [(moment(row.start_time), row) for row in going if ATTEMPT.sub("", row.display_name).endswith("-driver")]
        stuck = [row.display_name for time, row in began if time and time < long_ago]
        if not stuck:
            return ""
        why = f"{stuck[0]} began more than {DRIVER_MINUTES} minutes ago and takes seconds (or no node has room for its pod)"
    changes = [change.update_time for row in rows(run) for change in row.state_history or () if moment(change.update_time)]
    since = f" since {max(changes).astimezone():%Y-%m-%d %H:%M}" if changes else ""
    return (
        f"the list of tasks stands still{since}: {why}. Kubeflow goes on serving an old list once a run's workflow passes 1 MiB; "
        "only the run's page shows its tasks as they are"
    )


def terminated(run: api.V2beta1Run) -> bool:
    """Whether somebody ended the run. Its last state does not say so: it is FAILED, after CANCELING."""
    states = {run.state, *(status.state for status in run.state_history or ())}
    return run.state != "SUCCEEDED" and not states.isdisjoint({"CANCELING", "CANCELED"})


def state(run: api.V2beta1Run) -> str:
    """The state of a run in a word, of one that somebody ended too."""
    return "terminated" if run.state in FINISHED and terminated(run) else word(run.state)


def moment(time: datetime.datetime | None) -> datetime.datetime | None:
    """A time of the API; it writes the year 1970 for what has not happened yet, and that or 1 where Go's zero time slips in."""
    return time if time is not None and time.year > 1970 else None


def reason(task: Any) -> str:
    """What the API says went wrong with a task or a run; often nothing."""
    said = [task.error, *(status.error for status in reversed(task.state_history or ()))]
    return next((" ".join(error.message.split()) for error in said if error and error.message), "")


def failure(run: api.V2beta1Run, server: Server, ending: str = "") -> str:
    """One sentence: what failed, why as far as the API says it, how it ended as MLflow has it, and where to look."""
    page = server.page(f"runs/details/{run.run_id}")
    failed = [] if standing_still(run) else [task for task in tasks(run) if task.state == "FAILED"]
    named_tasks = ", ".join(f"task {task.display_name} ({reason(task) or 'no reason given'})" for task in failed)
    what = named_tasks or reason(run) or standing_still(run) or "no task is marked as failed"
    look = f"`python -m pipelines logs {run.run_id} {failed[0].display_name}` or {page}" if failed else page
    return f"run {run.run_id} {state(run)}: {what}; {f'{ending}; ' if ending else ''}see {look}"


def word(state: str | None) -> str:
    """A state in small letters."""
    return (state or "unknown").lower()
