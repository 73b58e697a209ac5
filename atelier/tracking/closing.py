"""Closes the MLflow run of a pipeline: called by its last task, or by hand where that was lost."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from atelier.tracking import runs
from atelier.tracking.client import check_reachable, client, experiment_id, explained, mask
from atelier.tracking.provenance import environment_tags, pipeline_key

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

STATE, REASON = "atelier.pipeline_state", "atelier.pipeline_reason"
REJECTION = "atelier.objection"  # of a run that measured a generator: why it is rejected
TAG_LENGTH = 5000  # MLflow's limit
EXPERIMENTS = 1000  # that are searched for a pipeline's run; more than MLflow gives on one page
# The words of kfp.local and of a run in Kubeflow's API, and those that the last task of a pipeline hears from Kubeflow Pipelines
# 2.17, which are the metadata store's (GetLastKnownState in resolve.go).
STATUS = {
    "SUCCEEDED": "FINISHED",
    "COMPLETE": "FINISHED",
    "CACHED": "FINISHED",
    "FAILED": "FAILED",
    "CANCELLED": "KILLED",
    "CANCELED": "KILLED",
    "CANCELING": "KILLED",
}
VANISHED = "which ended without a word: it was killed, as for want of memory, or its pod or node went away"


@dataclass(frozen=True)
class Ending:
    """How a pipeline ended: the id of its run in MLflow, that run's status, and in words what it was."""

    run_id: str
    status: str
    text: str


def close_pipeline(experiment: str, state: str, reason: str = "", last: Collection[str] = ("register",)) -> Ending:
    """Ends the MLflow run of this pipeline, whose steps may have died without a word.

    `state` is Kubeflow's. Where it says nothing (RUNNING, UNKNOWN: after a closed gate, a lost pod, a driver that failed, an end
    by hand), the runs of the steps decide; `last` are those that end a pipeline which nothing kept from it. Those that MLflow
    still takes for running are ended, too. With MLFLOW_RUN_ID in the environment the end of runs is the business of whoever
    injected it: the run above that one gets the tags only. Raises TrackingError.
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
        ending = Ending(parent, status, "; ".join(part for part in (text, mask(reason)) if part))
        if injected:
            _say(mlflow, ending, state)
        else:
            _close(mlflow, ending, state, children)
        return ending


def close_what_is_open(key: str, state: str, terminated: bool = False, ended: datetime | None = None) -> Ending | None:
    """How the pipeline with this key ended; its MLflow run is ended where its last task did not, or could not know.

    The pipeline is over since `ended`: `state` is the last one that Kubeflow gives its run, and `terminated` tells that somebody
    ended it, which the last task does not hear. None where MLflow has no run of it, as where a plugin of Kubeflow opened it.
    Raises TrackingError.
    """
    with explained():
        check_reachable()
        mlflow = client()
        experiments = [one.experiment_id for one in mlflow.search_experiments(max_results=EXPERIMENTS)]
        found = mlflow.search_runs(experiments, f"tags.`{runs.PIPELINE}` = '{key}'", max_results=1)
        if not found:
            return None
        (whole,) = found
        said = Ending(whole.info.run_id, whole.info.status, whole.data.tags.get(REASON, ""))
        state = "CANCELED" if terminated and state != "SUCCEEDED" else state
        known_better = STATUS.get(state) if state in ("SUCCEEDED", "CANCELED") else None
        if STATE in whole.data.tags and said.status != "RUNNING" and known_better in (None, said.status):
            return said
        children = runs.children(mlflow, whole.info.experiment_id, whole.info.run_id)
        ending = Ending(whole.info.run_id, *_ending(state, runs.latest(children), None))
        _close(mlflow, ending, state, children, ended)
        return ending


def _close(mlflow: MlflowClient, ending: Ending, state: str, children: Collection[Run], ended: datetime | None = None) -> None:
    """Ends the pipeline's run, and the runs of its steps that nobody ended."""
    _say(mlflow, ending, state)
    at = int(1000 * (ended.timestamp() if ended else time.time()))
    for left in children:
        if left.info.status == "RUNNING":
            mlflow.set_terminated(left.info.run_id, "KILLED", end_time=at)
    mlflow.set_terminated(ending.run_id, ending.status, end_time=at)


def _say(mlflow: MlflowClient, ending: Ending, state: str) -> None:
    runs.set_tags(mlflow, ending.run_id, {STATE: state, REASON: ending.text[:TAG_LENGTH]})


def _ending(state: str, steps: dict[str, Run], last: Collection[str] | None) -> tuple[str, str]:
    """Status of the pipeline's run, and why, from Kubeflow's word and the latest run of each step; `last` is None if unknown."""
    status, complete = STATUS.get(state, ""), last is not None and {*last} <= steps.keys()
    failed, stopped, lost = (
        ", ".join(name for name, run in steps.items() if run.info.status == ended) for ended in ("FAILED", "KILLED", "RUNNING")
    )
    if status == "KILLED":
        where = ", ".join(filter(None, (stopped, lost)))
        return status, f"terminated in {where}" if where else "terminated"
    if status == "FINISHED":
        return status, ("done" if complete else _closed(steps)) or ("done" if last is not None else "succeeded in Kubeflow")
    if failed:
        return "FAILED", f"failed in {failed}"
    if stopped:  # Kubeflow has no word for it
        return "KILLED", f"stopped from outside in {stopped}: terminated, or its node was taken away"
    if lost:
        return "FAILED", f"failed in {lost}, {VANISHED}"
    if last is not None and not complete and (closed := _closed(steps)):  # FAILED, too, after an attempt that a later one healed
        return "FINISHED", closed
    if status == "FAILED":
        return status, "failed in a step without a run in MLflow"
    if complete:
        return "FINISHED", "done"
    return "FAILED", (
        f"ended in state {state}, and no step says why (one that was taken from the cache has no run here); look at the run's "
        "page in Kubeflow"
    )


def _closed(steps: dict[str, Run]) -> str:
    """The gate that kept the pipeline from its end, and why; empty where no generator is rejected."""
    found = [f"{name} found {run.data.tags[REJECTION]}" for name, run in steps.items() if REJECTION in run.data.tags]
    return f"a gate closed, since a generator is rejected: {'; '.join(found)}" if found else ""
