"""What a task learns from its environment, by the names that every runner sets, and what it makes of it before it begins."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atelier.errors import AtelierError
from atelier.io.files import parse_json

TRACKING, AUTH = "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_AUTH"
PIPELINE_RUN, IMAGE, STATES, CACHE = "ATELIER_PIPELINE_RUN", "ATELIER_IMAGE", "ATELIER_STATES", "ATELIER_CACHE"
TASK, RETRIES, SERVICE_ACCOUNT = "ATELIER_TASK", "ATELIER_RETRIES", "ATELIER_SERVICE_ACCOUNT"
# Where the Secret's keys are files. As variables they would stand in Argo's Workflow six times for each task, Kubernetes would
# merge MLflow's into those of Kubeflow's plugin, and Kubeflow's launcher would take S3's for its own.
SECRET = Path("/run/secrets/atelier")
PLUGIN, PLUGIN_SECRET = "KFP_MLFLOW_CONFIG", "kfp-mlflow-credentials"  # of Kubeflow's own MLflow plugin
LOGIN = {  # MLflow's variables, with the key by which the plugin's settings say where in its Secret each one stands
    "MLFLOW_TRACKING_USERNAME": "usernameKey",
    "MLFLOW_TRACKING_PASSWORD": "passwordKey",
    "MLFLOW_TRACKING_TOKEN": "tokenKey",
}
SECRETS = (  # keys of the Secret, which become variables of a task
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION", *LOGIN,
)  # fmt: skip
SHARED_MEMORY = "2Gi"  # of /dev/shm, through which NCCL's processes talk; a container has 64 MiB


class UntrackedError(AtelierError):
    """A task does not know where MLflow is."""


class VolumeError(AtelierError):
    """A task may not write where it has to keep something."""


def settle() -> None:
    """What every task does first: takes the Secret's keys as variables, MLflow's login unless the runner has given another.

    Raises UntrackedError where there is no address of MLflow.
    """
    if not os.environ.get(TRACKING):
        raise UntrackedError(_untracked())
    others = any(os.environ.get(name) for name in (*LOGIN, AUTH))
    files = {key: SECRET / key for key in SECRETS if not (others and key in LOGIN)}
    os.environ |= {key: file.read_text(encoding="utf-8").strip() for key, file in files.items() if file.is_file()}


def login_of_nodes(secret: str) -> dict[str, dict[str, Any]]:
    """References to the Secret by which other pods log in to MLflow as this task does, by variable."""
    named: Mapping[str, str] = parse_json(os.environ.get(PLUGIN) or "{}").get("credentialSecretRef") or {}  # type: ignore[union-attr]
    if os.environ.get("MLFLOW_RUN_ID") and named:
        return {name: {"name": PLUGIN_SECRET, "key": named[key]} for name, key in LOGIN.items() if named.get(key)}
    return {} if os.environ.get(AUTH) else {name: {"name": secret, "key": name, "optional": True} for name in LOGIN}


def _untracked() -> str:
    """Why there is no address of MLflow, and what to do."""
    lost = f"{TRACKING} is not set, so the records of this step would vanish with its container"
    if os.environ.get(PLUGIN):
        return (
            f"{lost}: the MLflow plugin of Kubeflow Pipelines is on, but hands its address to no task; set "
            "injectUserEnvVars: true in plugins.mlflow.settings, or submit with --tracking-uri"
        )
    return (
        f"{lost}; submit with --tracking-uri, or turn on the MLflow plugin of Kubeflow Pipelines, with "
        "injectUserEnvVars: true in its settings"
    )


def check_volume() -> None:
    """Raises VolumeError unless this task may write to the folders of its volume, if it has one."""
    for folder in (Path(os.environ[name]) for name in (STATES, CACHE) if name in os.environ):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise VolumeError(
                f"{folder} cannot be written by user {os.getuid()}, group {os.getgid()} ({error.strerror}), and what is trained "
                "would be lost; give the root of the volume that --state-claim names to that group, once: "
                f"chgrp {os.getgid()} and chmod g+rwx (docs/production.md shows the pod that does it)"
            ) from error
