"""Runs in MLflow, looked at from outside."""

from __future__ import annotations

from typing import Any

from atelier.tracking.client import client

EXPERIMENT = "tracking tests"


def run_of(run_id: str | None) -> Any:
    assert run_id
    return client().get_run(run_id)
