"""How a run ended as MLflow has it, which a pipeline's last task tells it; what that task could not close is closed here."""

from __future__ import annotations

import os
from typing import Any

from atelier.tracking.closing import close_what_is_open
from atelier.tracking.place import TrackingError
from pipelines.client.tasks import FINISHED, moment, terminated
from pipelines.environment import TRACKING


def told(run: Any, *, gone: bool = False) -> str:
    """How a run that is over ended, in a line; `gone` where the cluster has lost it. Empty for one that goes on.

    MLflow being away is no error here: the line says so.
    """
    if run.state not in FINISHED and not gone:
        return ""
    if not os.environ.get(TRACKING):  # not the file of this folder: a cluster's runs are on a server
        return "" if run.state == "SUCCEEDED" else f"{TRACKING} is not set, so MLflow's run of it was neither read nor closed"
    try:
        ending = close_what_is_open(run.run_id, run.state, gone or terminated(run), moment(run.finished_at))
    except TrackingError as error:
        return str(error)
    return f"MLflow: {ending.status}, {ending.text}" if ending else "MLflow has no run of it"
