"""The place of MLflow: a server, or a SQLite file, which is the workspace's also for DVC's queued experiments."""

from __future__ import annotations

import os
from pathlib import Path

from atelier.errors import AtelierError
from atelier.io.workspace import lasting
from atelier_mlflow import SQLITE, sqlite_file

LOCAL_URI = "sqlite:///mlflow.db"


class TrackingError(AtelierError):
    """MLflow cannot be reached, or does not hold what was asked for."""


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the SQLite file in the working directory; a relative file is that of the workspace."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or LOCAL_URI
    if not uri.startswith(SQLITE):
        return uri
    file, mark, options = uri.removeprefix(SQLITE).partition("?")
    return f"{SQLITE}{lasting(Path(file))}{mark}{options}"


def database() -> Path | None:
    """The SQLite file that MLflow is; None where it is a server, or another database."""
    return sqlite_file(tracking_uri())


def store_is_missing() -> bool:
    """Whether MLflow is a local SQLite file that does not exist."""
    file = database()
    return file is not None and not file.exists()
