"""Whether MLflow takes what a pipeline is going to write there: tried before anything is computed, which may take hours."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from atelier.tracking import runs
from atelier.tracking.client import check_reachable, client, experiment_id, explained
from atelier.tracking.provenance import environment_tags, pipeline_key

FILE = "atelier-check.txt"
TEXT = "This file shows that the pipeline can write here.\n"
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"  # by itself MLflow asks a server that fails again for minutes


@contextlib.contextmanager
def _few_retries() -> Iterator[None]:
    before = os.environ.get(RETRIES)
    os.environ[RETRIES] = "1"
    try:
        yield
    finally:
        os.environ.pop(RETRIES)
        if before is not None:
            os.environ[RETRIES] = before


def try_mlflow(experiment: str) -> None:
    """Makes the experiment and the pipeline's run, writes a file to its artifacts, reads and removes it, asks for the registry.

    Raises TrackingError with the remedy for the first that fails.
    """
    with explained(), _few_retries():
        check_reachable()
        mlflow = client()
        from mlflow.artifacts import load_text
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        run_id = os.environ.get("MLFLOW_RUN_ID")
        if run_id is None:
            inside = experiment_id(mlflow, experiment)
            run_id = runs.pipeline_run(mlflow, inside, pipeline_key(), environment_tags()).info.run_id
        where = mlflow.get_run(run_id).info.artifact_uri
        mlflow.log_text(run_id, TEXT, FILE)
        load_text(f"{where}/{FILE}")
        try:
            get_artifact_repository(where).delete_artifacts(FILE)
        except NotImplementedError:  # a store that keeps everything keeps this, too
            print(f"{where}/{FILE} stays, since this store removes nothing")
        mlflow.search_registered_models(max_results=1)
