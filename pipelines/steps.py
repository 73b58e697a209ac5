"""The two tasks of a pipeline that no stage of dvc.yaml stands for: what comes before all others, and what comes after them."""

from __future__ import annotations

import io
import uuid

from kfp.dsl import PipelineTaskFinalStatus

from atelier.io.storage import S3Storage
from atelier.tracking.closing import Ending, close_pipeline
from atelier.tracking.trial import try_mlflow
from components.contract import Page, component
from pipelines.project import ProjectSettings
from pipelines.task import StepError
from pipelines.trainjob.rights import try_rights


@component({}, light=True, retries=1)  # of a pod that is lost; wrong settings stay wrong
def check(settings: ProjectSettings) -> None:
    """Tries what a run will need besides valid settings, before anything is computed.

    S3 for states, rights and runtime for TrainJobs where there are several nodes, and MLflow.
    """
    nodes = {name: training.nodes for name, training in settings.trainings.items() if training.nodes > 1}
    if nodes and settings.cluster.states == "none":
        raise StepError(
            f"several nodes exchange their work through S3; set cluster.states to an s3:// prefix, or "
            f"{'.nodes and '.join(nodes)}.nodes to 1"
        )
    if settings.cluster.states != "none":
        _try_states(settings.cluster.states)
    if nodes:
        try_rights()
    try_mlflow(settings.registry.experiment)


def _try_states(uri: str) -> None:
    """Writes an object under the prefix of training saves and removes it. Raises StorageError."""
    storage, name = S3Storage(uri), f"atelier-check-{uuid.uuid4().hex}"
    storage.put(name, io.BytesIO(b"This object shows that the pipeline can write here.\n"))
    storage.remove([name])


def _summary(ending: Ending) -> str:
    return f"# The pipeline ended: {ending.text}\n\nRun of MLflow: {ending.run_id} ({ending.status})\n"


# DVC says itself how it ended.
@component(
    {"experiment": "registry.experiment"}, light=True, pages={"summary": Page("Markdown", lambda ending, _: _summary(ending))}
)
def finish(experiment: str, last: list[str], status: PipelineTaskFinalStatus) -> Ending:
    """Closes the pipeline's run in MLflow, whose steps `last` end it, and says how it ended.

    Runs whatever happened before, but for an end of Argo's own (a workflow too large), after which `status` and `wait` close it.
    """
    return close_pipeline(experiment, status.state, status.error_message or "", last)
