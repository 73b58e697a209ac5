"""Which MLflow is talked to, whether it answers, and what must never be sent to it."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atelier.errors import AtelierError

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCAL_URI, LOCAL_ARTIFACTS = "sqlite:///mlflow.db", "mlartifacts"
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


class TrackingError(AtelierError):
    """MLflow cannot be reached, or does not hold what was asked for."""


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the SQLite file in the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or LOCAL_URI


def store_is_missing() -> bool:
    """Whether MLflow is a local SQLite file that does not exist."""
    file = _sqlite_file()
    return file is not None and not file.exists()


def _sqlite_file() -> Path | None:
    kind, _, file = tracking_uri().partition(":///")
    return Path(file.partition("?")[0]) if kind == "sqlite" else None


def mask(text: str) -> str:
    """The text without passwords (and user names) of URIs, logins of headers, and values whose name says that they are secret."""
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text


def import_mlflow() -> None:
    """Imports MLflow (about 2 s the first time) with telemetry and the notices of database migrations off."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")  # or the uv.lock of the working directory goes into every model
    import mlflow

    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(level)
    mlflow.set_tracking_uri(tracking_uri())


def client() -> MlflowClient:
    """A client of `tracking_uri()`; the first one of a new SQLite file makes its tables (some seconds), others wait for it."""
    import_mlflow()
    from mlflow import MlflowClient

    file = _sqlite_file()
    if file is None:
        return MlflowClient(tracking_uri())
    # MLflow makes the tables in steps, and two processes that do so at once leave a database that neither can use.
    with file.with_name(f".{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return MlflowClient(tracking_uri())


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
        if isinstance(error, MlflowException | OSError) or type(error).__module__.startswith(("sqlalchemy", "botocore")):
            raise unreachable(error) from error
        raise


def unreachable(error: BaseException) -> TrackingError:
    """The one-line error for whatever MLflow raised, with the remedy for what is usual."""
    return TrackingError(f"MLflow at {mask(tracking_uri())} cannot be used ({first_line(error)}); {_remedy(error)}")


def _remedy(error: BaseException) -> str:
    from mlflow.exceptions import MlflowException

    status = error.get_http_status_code() if isinstance(error, MlflowException) else None
    if status == 401:
        return "it asks for a login: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    if status == 403:
        return "it refuses that: ask whoever runs the server for the right to change the registry, or for the name to reach it by"
    return "see to it, or set MLFLOW_TRACKING_URI"


def first_line(error: BaseException) -> str:
    """Type and first line of an error, or of the network or file error at its root, masked and cut to 200 characters."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    roots = [one for one in chain if isinstance(one, OSError)]
    shown = roots[-1] if roots else next((one for one in chain if not isinstance(one, TrackingError)), error)
    lines = str(shown).strip().splitlines() or [""]
    return mask(f"{type(shown).__name__}: {lines[0]}")[:200]


def experiment_id(client: MlflowClient, name: str) -> str:
    """Id of the experiment, created when absent (with artifacts in ./mlartifacts when the store is the local SQLite file).

    Raises TrackingError for an experiment that was deleted.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        # A server decides itself where artifacts go; a database alone has nobody who does.
        on_server = tracking_uri().startswith(("http://", "https://"))
        location = None if on_server else (Path.cwd() / LOCAL_ARTIFACTS / _folder_name(name)).as_uri()
        try:
            return client.create_experiment(name, artifact_location=location)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found = client.get_experiment_by_name(name)  # another step was quicker
    if found is None or found.lifecycle_stage != "active":
        raise TrackingError(
            f"MLflow experiment {name!r} was deleted; restore it (mlflow experiments restore) or name another in "
            "registry.experiment"
        )
    return found.experiment_id


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
