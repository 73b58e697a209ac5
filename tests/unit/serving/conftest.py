"""One MLflow store for all tests of serving (making one costs seconds), and three small generators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from atelier.registry import server
from served_process import make_checkpoint


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Working folder with an mlflow.db; while the tests run it is the one of the environment."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_RUN_ID", "ATELIER_PIPELINE_RUN", "ATELIER_IMAGE", "DVC_STAGE", "DVC_EXP_NAME"):
            patch.delenv(name, raising=False)
        patch.setattr("atelier.registry.runs.SETTLE_SECONDS", 0.0)
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        server.import_mlflow()
        server.client().search_experiments()
        yield folder


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three generators of different weights."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return [make_checkpoint(folder / str(seed), seed) for seed in range(3)]
