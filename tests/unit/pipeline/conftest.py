"""Fixtures of the small pipeline."""

import pytest

from tests.support.small import images, quiet, workspace

__all__ = ["images", "quiet", "tracked", "workspace"]


@pytest.fixture(autouse=True)
def tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task is told where MLflow is."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow")
