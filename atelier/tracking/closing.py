"""The end of a pipeline, told to MLflow by whoever runs last."""

from __future__ import annotations

import os
import time

from atelier.tracking import runs
from atelier.tracking.client import check_reachable, client, experiment_id, explained, mask
from atelier.tracking.provenance import environment_tags, pipeline_key

STATE, REASON = "atelier.pipeline_state", "atelier.pipeline_reason"
TAG_LENGTH = 5000  # MLflow's limit
STATUS = {"SUCCEEDED": "FINISHED", "FAILED": "FAILED", "CANCELLED": "KILLED"}


def close_pipeline(experiment: str, state: str, reason: str = "") -> str:
    """Ends the MLflow run of this pipeline, whose steps may have died without a word, and returns its id.

    `state` is Kubeflow's (SUCCEEDED, FAILED, CANCELLED). Steps that MLflow still takes for running are ended, too. With
    MLFLOW_RUN_ID in the environment the end of runs is the business of whoever injected it: that run gets the tags only.
    Raises TrackingError.
    """
    with explained():
        check_reachable()
        mlflow = client()
        tags = {STATE: state, **({REASON: mask(reason)[:TAG_LENGTH]} if reason else {})}
        injected = os.environ.get("MLFLOW_RUN_ID")
        if injected:
            runs.set_tags(mlflow, injected, tags)
            return injected
        inside = experiment_id(mlflow, experiment)
        run_id = runs.pipeline_run(mlflow, inside, pipeline_key(), environment_tags()).info.run_id
        runs.set_tags(mlflow, run_id, tags)
        status, now = STATUS.get(state, "FAILED"), int(time.time() * 1000)
        for left in runs.unfinished(mlflow, inside, run_id):
            mlflow.set_terminated(left, "KILLED", end_time=now)
        mlflow.set_terminated(run_id, status, end_time=now)
        return run_id
