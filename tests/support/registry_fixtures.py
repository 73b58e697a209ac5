"""One MLflow store for all tests of the registry (making one costs seconds), and small checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atelier.metrics.identity import Identity, Measurement
from atelier.tracking import client
from tests.support.checkpoints import write_checkpoint
from tests.support.signing_keys import Keys

CLASSES = ["zero", "one", "two"]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Working folder with an mlflow.db that has its tables."""
    folder = tmp_path_factory.mktemp("mlflow")
    client.import_mlflow()
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()
    return folder


@pytest.fixture
def tracking(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The store is the one that `tracking_uri()` finds, and nothing of the outside environment leads elsewhere."""
    for name in ("MLFLOW_RUN_ID", "ATELIER_PIPELINE_RUN", "ATELIER_IMAGE", "DVC_STAGE", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("atelier.tracking.runs.SETTLE_SECONDS", 0.0)
    monkeypatch.chdir(store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store / 'mlflow.db'}")
    yield store


@pytest.fixture
def pipeline(tracking: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`pipeline(name)`: the steps that follow belong to the pipeline run of the DVC experiment of that name."""
    return lambda name: monkeypatch.setenv("DVC_EXP_NAME", name)


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keys:
    """Key pairs of the test's own, none of which the environment names yet."""
    folder = tmp_path / "keys"
    folder.mkdir()
    return Keys(folder, monkeypatch)


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """A checkpoint folder of a small MLP generator whose weights follow from `seed`."""

    def make(name: str, seed: int = 0, parent: dict[str, object] | None = None, conditional: bool = True) -> Path:
        settings = {"r1": 0.5, "notes": "x" * 7000}
        return write_checkpoint(tmp_path / name, seed, CLASSES if conditional else [], settings, parent)

    return make


@pytest.fixture
def measurement() -> Callable[..., Measurement]:
    """A measurement of the given value."""

    def make(value: float, metric: str = "frechet", seed: int = 0) -> Measurement:
        identity = Identity(
            metric=metric,
            extractor="efficientnet_lite0",
            weights="e" * 64,
            resize="bilinear 224",
            samples=1000,
            sampling="uniform classes",
            reference="r" * 64 + "/train",
            reference_count=4500,
            seed=seed,
            parameters="",
        )
        return Measurement(value, None, identity, higher_is_better=False)

    return make
