"""The client of MLflow: its address, whether it answers, and what is never sent to it."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from atelier.errors import AtelierError
from atelier.tracking import artifacts
from atelier.tracking.place import TrackingError, database, tracking_uri
from atelier_mlflow import FOLDER, SCHEME, repository

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROBE_SECONDS = 5
QUIET = {
    "alembic": logging.WARNING,
    "mlflow.store.db.utils": logging.WARNING,
    "mlflow.tracking.fluent": logging.WARNING,
    "mlflow.store.model_registry.abstract_store": logging.WARNING,
    "mlflow.pyfunc": logging.WARNING,
    "mlflow.utils.environment": logging.ERROR,  # it misses pip in environments that uv made
}

_NAME = r"(?<![\w-])(?:sig|[\w-]*(?:(?:access|api)[_-]?key|passw(?:or)?d|secret|token(?!s|iz)|signature|credential)[\w-]*)"
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_SECRETS = [
    # user:password@ of a URI. A password may hold "/" where it should not; a port before the "/" is none.
    (re.compile(r"\b(\w+://)(?:[^/\s]+|[^/\s:@]*:(?!\d{1,5}/)[^\s\"']+)@"), r"\1***@"),
    (re.compile(r"(?i)(authorization\W{1,5}(?:basic|bearer|token)\s+|\bbearer\s+(?=[\w.~+/-]{16}))[\w.~+/=-]+"), r"\1***"),
    (re.compile(rf"(?i)({_NAME})=(?:{_QUOTED}|[^&\s]+)"), r"\1=***"),
    (re.compile(rf"(?i)([\"'])({_NAME})\1(\s*:\s*)(?:{_QUOTED}|[^,\s}}\]]+)"), r"\1\2\1\3***"),
]


def mask(text: str) -> str:
    """The text without passwords (and user names) of URIs, logins of headers, and values whose name says that they are secret."""
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text


def import_mlflow() -> None:
    """Imports MLflow (about 2 s the first time) with telemetry and the notices of database migrations off.

    Raises TrackingError where MLflow would fail to make its SQLite file.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")  # or the uv.lock of the working directory goes into every model
    import mlflow
    from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories

    if "%" in mlflow.__file__ and database() is not None:
        folder = Path(mlflow.__file__).parent
        raise TrackingError(f"MLflow cannot read its migrations below a folder with a % in its name: rename it ({folder})")
    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(level)
    mlflow.set_tracking_uri(tracking_uri())
    # In the images no package names it to MLflow.
    get_registered_artifact_repositories()[SCHEME] = repository  # type: ignore[assignment]


def client() -> MlflowClient:
    """A client of `tracking_uri()`; the first one of a new SQLite file makes its tables (some seconds), others wait for it.

    Raises TrackingError for a SQLite file whose runs' files are elsewhere (see `artifacts.settle`).
    """
    import_mlflow()
    from mlflow import MlflowClient

    file = database()
    if file is None:
        return MlflowClient(tracking_uri())
    # MLflow makes the tables in steps, and two processes that do so at once leave a database that neither can use.
    with locked(file):
        made = MlflowClient(tracking_uri())
        artifacts.settle(file)
    return made


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Holds the lock beside a database; whoever may only read there goes without, for he makes no tables."""
    lock = file.with_name(f".{file.name}.lock")
    if file.exists() and not os.access(lock if lock.exists() else file.parent, os.W_OK):
        yield
        return
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def check_reachable() -> None:
    """Raises TrackingError within seconds when the tracking server is on a network and does not answer.

    MLflow itself would retry for minutes. A server that answers with an error is reachable: what it refuses is said by the
    call that needs it. A database or a local file is not probed: its errors come at once.
    """
    uri = tracking_uri()
    if not uri.startswith(("http://", "https://")):
        return
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    with explained():
        http_request(get_default_host_creds(uri), "/health", "GET", timeout=PROBE_SECONDS, max_retries=0, raise_on_status=False)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turns what MLflow, its database, the network or the artifact store raise into TrackingError; a bug stays what it is."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except AtelierError:
        raise
    except Exception as error:
        if isinstance(error, MlflowException | OSError) or type(error).__module__.startswith(
            ("sqlalchemy", "botocore", "sqlite3")
        ):
            raise unreachable(error) from error
        raise


def unreachable(error: BaseException) -> TrackingError:
    """The one-line error for whatever MLflow raised, with the remedy for what is usual."""
    return TrackingError(f"MLflow at {mask(tracking_uri())} cannot be used ({first_line(error)}); {_remedy(error)}")


def _remedy(error: BaseException) -> str:
    from mlflow.exceptions import MlflowException

    if "readonly database" in str(error) or isinstance(error, PermissionError):
        return "this user may not write there; have its owner give the right to, or set MLFLOW_TRACKING_URI to another"
    status = error.get_http_status_code() if isinstance(error, MlflowException) else None
    if status == 401:
        return "it asks for a login: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    if status == 403 and "host header" in str(error).lower():
        host = urlsplit(tracking_uri()).netloc.rpartition("@")[2]
        return f"it refuses the name that it is reached by: have it started with `mlflow server --allowed-hosts {host}`"
    if status == 403:
        return "it refuses that: ask whoever runs the server for the right to change the registry, or for the name to reach it by"
    return "see to it, or set MLFLOW_TRACKING_URI"


def first_line(error: BaseException) -> str:
    """Type and first line of an error, or of the network or file error at its root, masked and cut to 500 characters.

    A first line that announces the next, as MLflow's of failed downloads does, comes with it.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    roots = [one for one in chain if isinstance(one, OSError)]
    shown = roots[-1] if roots else next((one for one in chain if not isinstance(one, TrackingError)), error)
    lines = [line.strip() for line in str(shown).splitlines() if line.strip()] or [""]
    said = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return mask(f"{type(shown).__name__}: {said}")[:500]


def experiment_id(client: MlflowClient, name: str) -> str:
    """Id of the experiment, created when absent (with artifacts in the folder mlartifacts beside a SQLite file).

    Raises TrackingError for an experiment that was deleted, or whose artifacts would go into another folder's mlartifacts.
    """
    from mlflow.exceptions import MlflowException

    file = database()
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, artifact_location=_location(file, _folder_name(name)))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found = client.get_experiment_by_name(name)  # another step was quicker
    if found is None or found.lifecycle_stage != "active":
        raise TrackingError(
            f"MLflow experiment {name!r} was deleted; restore it (mlflow experiments restore) or name another in "
            "registry.experiment"
        )
    if file is not None:
        artifacts.check_inside(file, found.artifact_location)
    return found.experiment_id


def _location(file: Path | None, name: str) -> str | None:
    """Where the artifacts of a new experiment go. A server decides that itself; a database alone has nobody who does."""
    if file is not None:
        return artifacts.address(name)
    on_server = tracking_uri().startswith(("http://", "https://"))
    return None if on_server else (Path.cwd() / FOLDER / name).as_uri()


def _folder_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values as {"section.key": text}, masked; lists stay whole. Texts beyond MLflow's 6,000 characters end in "…"."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            text = mask(str(value))
            flat[f"{prefix}{key}"] = text if len(text) <= 6000 else text[:5999] + "…"
    return flat
