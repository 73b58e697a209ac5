"""The provenance of a run: git, DVC, the image, the pipeline."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import subprocess
from functools import cache
from pathlib import Path

from atelier.tracking.place import TrackingError

log = logging.getLogger(__name__)
NO_CODE = ("**/dvc.lock", "**/params.yaml", "projects/**")
PROJECT = "atelier.project"  # tag: the project's folder in the repository, where it is not the repository's own
_FROM_ENVIRONMENT = {
    "DVC_EXP_NAME": "dvc.experiment",
    "DVC_STAGE": "dvc.stage",
    "DVC_EXP_BASELINE_REV": "dvc.baseline",
    "ATELIER_IMAGE": "atelier.image",
    "ATELIER_TASK": "atelier.task",
}


def git_state() -> dict[str, str]:
    """{"commit": sha, "dirty": "true" | "false"} of the repository that holds the working directory.

    dvc.lock and params.yaml do not count as dirt: `dvc repro` writes the one, `dvc exp run -S` the other, and the values that a
    generator was made with are kept beside it. Nor do the folders of projects/, which hold no code. Where there is no repository
    (in a container) the commit is that of ATELIER_GIT_COMMIT, with "dirty" "unknown"; without that, {}.
    """
    commit = _git("rev-parse", "--verify", "HEAD")
    if commit is None:
        given = os.environ.get("ATELIER_GIT_COMMIT")
        return {"commit": given, "dirty": "unknown"} if given else {}
    changes = _git("status", "--porcelain", "--", ":/", *(f":(top,exclude,glob){one}" for one in NO_CODE))
    return {"commit": commit, "dirty": "unknown" if changes is None else str(bool(changes)).lower()}


def _git(*arguments: str) -> str | None:
    plain = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=30, env=plain)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if "dubious ownership" in done.stderr:
        _warn_of_owner(done.stderr)
    return done.stdout.strip() if done.returncode == 0 else None


@cache
def _warn_of_owner(refusal: str) -> None:
    remedy = next((line.strip() for line in refusal.splitlines() if "safe.directory" in line), "take the folder over")
    log.warning("the git commit is not recorded, since git refuses a folder that belongs to another user; allow it: %s", remedy)


def pipeline_key() -> str:
    """What the steps of one pipeline run have in common: ATELIER_PIPELINE_RUN, else a hash of commit, params.yaml and experiment.

    With that hash `dvc repro` goes on in the same pipeline run after an interruption, and each `dvc exp run` has its own.
    Raises TrackingError for a name that MLflow could not be searched for.
    """
    name = os.environ.get("ATELIER_PIPELINE_RUN")
    if not name:
        origin = "\0".join((git_state().get("commit", ""), os.environ.get("DVC_EXP_NAME", ""), ""))
        params = Path("params.yaml")
        return hashlib.sha256(origin.encode() + (params.read_bytes() if params.is_file() else b"")).hexdigest()
    if not re.fullmatch(r"[\w.:/@+-]{1,250}", name):
        raise TrackingError(f"pipeline run {name!r}: use letters, digits and . : / @ + - _ (ATELIER_PIPELINE_RUN)")
    return name


def environment_tags() -> dict[str, str]:
    """Tags that say where this process runs: git commit and dirty state, DVC experiment and stage, image digest."""
    git = git_state()
    tags = {tag: os.environ[name] for name, tag in _FROM_ENVIRONMENT.items() if os.environ.get(name)}
    if git:
        tags |= {
            "atelier.git_commit": git["commit"],
            "atelier.git_dirty": git["dirty"],
            "mlflow.source.git.commit": git["commit"],
        }
    if inside := _git("rev-parse", "--show-prefix"):
        tags[PROJECT] = inside.rstrip("/")
    return tags
