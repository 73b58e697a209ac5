"""Closes the MLflow run of a pipeline, at its end."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atelier.tracking import runs
from atelier.tracking.client import check_reachable, client, experiment_id, explained, mask
from atelier.tracking.provenance import environment_tags, pipeline_key

if TYPE_CHECKING:
    from mlflow.entities import Run

STATE, REASON = "atelier.pipeline_state", "atelier.pipeline_reason"
REJECTION = "atelier.objection"  # tag of a run that measured a generator: why it is rejected
TAG_LENGTH = 5000  # MLflow's limit
# The words of kfp.local, and those of Kubeflow Pipelines 2.17, which are the metadata store's (GetLastKnownState in resolve.go).
STATUS = {
    "SUCCEEDED": "FINISHED",
    "COMPLETE": "FINISHED",
    "CACHED": "FINISHED",
    "FAILED": "FAILED",
    "CANCELLED": "KILLED",
    "CANCELED": "KILLED",
}


@dataclass(frozen=True)
class Ending:
    """How a pipeline ended: the id of its run in MLflow, that run's status, and in words what it was."""

    run_id: str
    status: str
    text: str


def close_pipeline(experiment: str, state: str, reason: str = "", last: Collection[str] = ("register",)) -> Ending:
    """Ends the MLflow run of this pipeline, whose steps may have died without a word.

    `state` is Kubeflow's. Where it says nothing (RUNNING, UNKNOWN: after a closed gate, a lost pod, a driver that failed), the
    runs of the steps decide; `last` are those that end a pipeline which nothing kept from it. Those that MLflow still takes for
    running are ended, too. With MLFLOW_RUN_ID in the environment the end of runs is the business of whoever injected it: that
    run gets the tags only. Raises TrackingError.
    """
    with explained():
        check_reachable()
        mlflow = client()
        injected = os.environ.get("MLFLOW_RUN_ID")
        if injected:
            own = mlflow.get_run(injected)
            parent, inside = own.data.tags.get(runs.PARENT, injected), own.info.experiment_id
        else:
            inside = experiment_id(mlflow, experiment)
            parent = runs.pipeline_run(mlflow, inside, pipeline_key(), environment_tags()).info.run_id
        children = [run for run in runs.children(mlflow, inside, parent) if run.info.run_id != injected]
        status, text = _ending(state, runs.latest(children), last)
        text = "; ".join(part for part in (text, mask(reason)) if part)
        run_id = injected or parent
        runs.set_tags(mlflow, run_id, {STATE: state, REASON: text[:TAG_LENGTH]})
        if not injected:
            now = int(time.time() * 1000)
            for left in children:
                if left.info.status == "RUNNING":
                    mlflow.set_terminated(left.info.run_id, "KILLED", end_time=now)
            mlflow.set_terminated(parent, status, end_time=now)
        return Ending(run_id, status, text)


def _ending(state: str, steps: dict[str, Run], last: Collection[str]) -> tuple[str, str]:
    """Status of the pipeline's run, and why, from Kubeflow's word and the latest run of each step."""
    status = STATUS.get(state, "")
    failed = [name for name, run in steps.items() if run.info.status == "FAILED"]
    lost = [name for name, run in steps.items() if run.info.status in ("RUNNING", "KILLED")]
    closed = [f"{name} found {run.data.tags[REJECTION]}" for name, run in steps.items() if REJECTION in run.data.tags]
    if status == "KILLED":
        return status, "canceled" + (f" in {', '.join(lost)}" if lost else "")
    if status == "FAILED" or (not status and failed):
        return "FAILED", f"failed in {', '.join(failed or lost) or 'a step without a run in MLflow'}"
    if not status and lost:
        return "FAILED", f"lost in {', '.join(lost)}, which ended without a word: its pod was killed or its node went away"
    complete = {*last} <= steps.keys()
    if closed and not complete:
        return "FINISHED", f"a gate closed, since a generator is rejected: {'; '.join(closed)}"
    if status or complete:
        return "FINISHED", "done"
    return "FAILED", f"ended in state {state}, and no step says why; look at the run's page in Kubeflow"
