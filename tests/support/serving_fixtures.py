"""One MLflow store for all tests of serving (making one costs seconds), and three small generators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkpoints import write_checkpoint
from tests.support.registry_fixtures import store
from tests.support.served_process import CLASSES

__all__ = ["checkpoints", "store", "tracking"]


@pytest.fixture(scope="module")
def tracking(store: Path) -> Iterator[Path]:
    """The store is the one that `tracking_uri()` finds, here and in the processes that the tests start."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_RUN_ID", "ATELIER_PIPELINE_RUN", "ATELIER_IMAGE", "DVC_STAGE", "DVC_EXP_NAME"):
            patch.delenv(name, raising=False)
        patch.setattr("atelier.tracking.runs.SETTLE_SECONDS", 0.0)
        patch.chdir(store)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store / 'mlflow.db'}")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        yield store


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three generators of different weights."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return [write_checkpoint(folder / str(seed), seed, CLASSES) for seed in range(3)]
