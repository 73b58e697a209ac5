"""What a Kubeflow Pipelines 2.17.0 with Argo 4.0.5 answered on 2026-11-29, and what its exit handlers are told.

Each file is `{"status": HTTP status, "body": ...}` as a client got it, without `pipeline_spec` and `runtime_config`; `nodes-*`
are Argo's nodes of a workflow, each with the pod that ran it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kfp.dsl import PipelineTaskFinalStatus


def recorded(name: str) -> dict[str, Any]:
    """The content of a file, by its name without ending."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    return found


def final_status(state: str) -> PipelineTaskFinalStatus:
    """What an exit handler's task is told, as resolveInputParameter in backend/src/v2/driver/resolve.go puts it together.

    The state is the metadata store's word for the exit handler's group (GetLastKnownState), the error is always empty. Recorded:
    COMPLETE of 9 successes; RUNNING of closed gates, failed drivers and 3 of 4 terminated runs, since UpdateDAGExecutionsState in
    backend/src/v2/metadata/client.go is called by launchers only; FAILED of failed components and of the fourth.
    """
    return PipelineTaskFinalStatus(
        state=state,
        pipeline_job_resource_name="atelier-x7k2f",
        pipeline_task_name="exit-handler-1",
        error_code=None,
        error_message=None,
    )
