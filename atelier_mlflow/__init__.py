"""Tells MLflow where mlflow-artifacts:/... is when no server is asked: in the folder mlartifacts beside the SQLite file.

`mlflow server` looks for such addresses in ./mlartifacts, so with and without a server they mean the same files, and database and
folder are moved and copied together. pyproject.toml names `repository` to MLflow. It is a package of its own because MLflow
imports it in every process, and one that loads a registered generator is to run that `atelier` which was logged with it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

SCHEME, FOLDER = "mlflow-artifacts", "mlartifacts"
SQLITE = "sqlite:///"


def repository(artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> ArtifactRepository:
    """What MLflow reads and writes an address with: a folder where MLflow is a SQLite file, else the server itself."""
    from mlflow import get_tracking_uri
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    file = sqlite_file(tracking_uri or get_tracking_uri())
    if file is None or urlsplit(artifact_uri).netloc:
        return MlflowArtifactsRepository(artifact_uri, tracking_uri, registry_uri)
    return LocalArtifactRepository(place(file, artifact_uri).as_uri(), tracking_uri, registry_uri)


def place(database: Path, address: str) -> Path:
    """The path that an address means beside a database. Raises MlflowException for one that leads out of the folder."""
    from mlflow.exceptions import MlflowException

    folder = database.absolute().parent / FOLDER
    found = Path(os.path.normpath(f"{folder}/{urlsplit(address).path}"))
    if not found.is_relative_to(folder):
        raise MlflowException.invalid_parameter_value(f"{database}: the address {address} leads out of {folder}")
    return found


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite address; None for what is none.

    MLflow writes the address of its default quoted ("a%20b"), and takes any that it is given as it is.
    """
    if not uri.startswith(SQLITE):
        return None
    written = uri.removeprefix(SQLITE).partition("?")[0]
    as_written, unquoted = Path(written), Path(unquote(written))
    return unquoted if unquoted.exists() and not as_written.exists() else as_written
