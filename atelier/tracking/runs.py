"""Runs in MLflow: the pipeline's, the steps' in it, and how two steps that start at once agree on one parent."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atelier.tracking.client import experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PIPELINE, STEP, RUN_KEY, OF_PIPELINE = "atelier.pipeline", "atelier.step", "atelier.run_key", "atelier.pipeline_run"
PARENT = "mlflow.parentRunId"
A_CALL = 100  # parameters or tags, MLflow's limit
SETTLE_SECONDS = 1.0  # longer than a search and the creation of a run take where the server is not slow


@dataclass(frozen=True)
class Wanted:
    """The run that a step asks for. `environment` are tags of the pipeline's run too, `tags` of the step's only."""

    step: str
    pipeline: str
    run_key: str | None
    environment: dict[str, str]
    tags: dict[str, str]
    params: dict[str, str]

    def all_tags(self) -> dict[str, str]:
        """Tags of the step's run."""
        key = {RUN_KEY: self.run_key} if self.run_key else {}
        return {**self.environment, **self.tags, **key, STEP: self.step, OF_PIPELINE: self.pipeline}


@dataclass
class Opened:
    """A run that is open for a step, and what it already holds: (curve, images) and (picture, images)."""

    run_id: str
    parent_run_id: str | None
    experiment_id: str
    manages_parent: bool
    points: set[tuple[str, int]] = field(default_factory=set)
    pictures: set[tuple[str, int]] = field(default_factory=set)


def open_run(client: MlflowClient, experiment: str, wanted: Wanted) -> Opened:
    """The step's run, RUNNING, with its tags and parameters: injected (MLFLOW_RUN_ID), resumed or new."""
    injected = os.environ.get("MLFLOW_RUN_ID")
    tags = wanted.all_tags()
    if injected:
        run = client.get_run(injected)
        opened = Opened(injected, run.data.tags.get(PARENT), run.info.experiment_id, manages_parent=False)
    else:
        inside = experiment_id(client, experiment)
        parent = pipeline_run(client, inside, wanted.pipeline, wanted.environment).info.run_id
        tags[PARENT] = parent  # a run that is taken over moves to the pipeline run that goes on with it
        run = _resumable(client, inside, wanted, parent) or client.create_run(inside, tags=tags, run_name=wanted.step)
        opened = Opened(run.info.run_id, parent, inside, manages_parent=not has_closing_task())
        client.update_run(parent, status="RUNNING")
    client.update_run(opened.run_id, status="RUNNING")
    _describe(client, run, tags, wanted.params)
    _recall(client, run, opened)
    return opened


def has_closing_task() -> bool:
    """Whether a last task ends the pipeline's run, so that no step does: where the runner names that run, as Kubeflow does."""
    return bool(os.environ.get("ATELIER_PIPELINE_RUN"))


def pipeline_run(client: MlflowClient, experiment: str, key: str, tags: dict[str, str]) -> Run:
    """The run of the pipeline: found by its key, or made."""
    own_tags = {name: value for name, value in tags.items() if name != "dvc.stage"}
    return agreed(client, experiment, PIPELINE, key, own_tags, f"pipeline {key[:12]}")


def agreed(client: MlflowClient, experiment: str, tag: str, value: str, tags: dict[str, str], name: str) -> Run:
    """The run with `tag` = `value`, or a new one with `tags` and `name`. Of several that were made at once the oldest stays.

    MLflow has no "create unless it exists" for runs. Whoever makes one, or finds one that has only just been made, therefore
    waits until every other that had not seen it must be visible; whoever made one withdraws it unless it is the oldest.
    """
    began = time.monotonic()
    found = _tagged(client, experiment, tag, value)
    if found and time.time() - found[0].info.start_time / 1000 > 2 * SETTLE_SECONDS:
        return found[0]
    own = None if found else client.create_run(experiment, tags={**tags, tag: value}, run_name=name)
    time.sleep(max(SETTLE_SECONDS, 4 * (time.monotonic() - began)))  # a slow server is slow for the others, too
    oldest = _tagged(client, experiment, tag, value)[0]
    if own and oldest.info.run_id != own.info.run_id:
        client.delete_run(own.info.run_id)
    return oldest


def _tagged(client: MlflowClient, experiment: str, tag: str, value: str) -> list[Run]:
    found = client.search_runs([experiment], f"tags.`{tag}` = '{value}'", max_results=50)
    return sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))


def _resumable(client: MlflowClient, experiment: str, wanted: Wanted, parent: str) -> Run | None:
    """The newest run of the same work: any in this pipeline run; one of another pipeline run only if it was interrupted.

    A pipeline run that has a name of its own (ATELIER_PIPELINE_RUN) never takes over another one's runs.
    """
    if wanted.run_key is None:
        return None
    same_work = f"tags.`{RUN_KEY}` = '{wanted.run_key}' and tags.`{STEP}` = '{wanted.step}'"
    found = client.search_runs([experiment], same_work, order_by=["attributes.start_time DESC"], max_results=50)
    here = [run for run in found if run.data.tags.get(PARENT) == parent]
    named = has_closing_task()
    interrupted = [run for run in found if run.info.status != "FINISHED" and PARENT in run.data.tags and not named]
    return next(iter(here + interrupted), None)


def _describe(client: MlflowClient, run: Run, tags: dict[str, str], params: dict[str, str]) -> None:
    """Sets tags and parameters. MLflow never changes a parameter: a resumed run tells a new value as tag changed.NAME."""
    from mlflow.entities import Param

    had = run.data.params
    changed = {f"changed.{name}": value for name, value in params.items() if name in had and had[name] != value}
    set_tags(client, run.info.run_id, tags | changed)
    new = [Param(name, value) for name, value in params.items() if name not in had]
    for first in range(0, len(new), A_CALL):
        client.log_batch(run.info.run_id, params=new[first : first + A_CALL])


def set_tags(client: MlflowClient, run_id: str, tags: dict[str, str]) -> None:
    """Sets several tags, in as few calls as MLflow allows."""
    from mlflow.entities import RunTag

    all_tags = [RunTag(name, value) for name, value in tags.items()]
    for first in range(0, len(all_tags), A_CALL):
        client.log_batch(run_id, tags=all_tags[first : first + A_CALL])


def _recall(client: MlflowClient, run: Run, opened: Opened) -> None:
    """What a resumed run already holds, so that nothing is sent twice."""
    for name in run.data.metrics:
        opened.points |= {(name, metric.step) for metric in client.get_metric_history(opened.run_id, name)}
    if "mlflow.loggedImages" in run.data.tags:
        opened.pictures |= pictures(client, opened.run_id)


def pictures(client: MlflowClient, run_id: str) -> set[tuple[str, int]]:
    """(name, images) of each picture that a run holds."""
    files = (
        re.fullmatch(r"images/(.+?)[%+]step[%+](\d+)[%+].*\.png", file.path) for file in client.list_artifacts(run_id, "images")
    )
    return {(found[1], int(found[2])) for found in files if found}


def children(client: MlflowClient, experiment: str, pipeline_run_id: str) -> list[Run]:
    """The runs of the steps of a pipeline's run, the oldest first."""
    found = client.search_runs([experiment], f"tags.`{PARENT}` = '{pipeline_run_id}'", max_results=1000)
    return sorted(found, key=lambda run: run.info.start_time)


def latest(children: Sequence[Run]) -> dict[str, Run]:
    """The last of these runs of each step, by the step's name."""
    return {run.data.tags.get(STEP, run.info.run_id): run for run in children}


def finish(client: MlflowClient, opened: Opened, status: str) -> None:
    """Ends the step's run. Where no task does it, the pipeline's run gets the state that its steps' latest runs add up to."""
    client.set_terminated(opened.run_id, status, end_time=int(time.time() * 1000))
    if not opened.manages_parent or opened.parent_run_id is None:
        return
    steps = latest(children(client, opened.experiment_id, opened.parent_run_id))
    states = {step.info.status for step in steps.values()}
    whole = next((state for state in ("FAILED", "KILLED", "RUNNING") if state in states), "FINISHED")
    if whole == "RUNNING":
        client.update_run(opened.parent_run_id, status="RUNNING")
    else:
        client.set_terminated(opened.parent_run_id, whole, end_time=int(time.time() * 1000))
