"""Models that lie where MLflow put them before they were moved."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from atelier.registry.register import register
from atelier.tracking import artifacts
from atelier.tracking.step_run import step_run

EXPERIMENT = "atelier"


@pytest.fixture(name="of_before")
def of_before_fixture(
    store: Path, tracking: Path, tmp_path: Path, make_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with a registered generator, and the database as the code of before wrote it: with absolute addresses."""
    folder = tmp_path / "original"
    folder.mkdir()
    shutil.copyfile(store / "mlflow.db", folder / "mlflow.db")
    use(folder, monkeypatch)
    with step_run("register", EXPERIMENT, {}, required=True) as run:
        register(run, "digits", make_checkpoint("base"), [], "A card.")
        with sqlite3.connect(folder / "mlflow.db") as connection:  # of the store that tests share, this one's own
            connection.execute("DELETE FROM model_versions WHERE run_id != ?", (run.opened_id,))
            connection.execute("DELETE FROM logged_models WHERE experiment_id != ?", (run.experiment_id,))
            connection.execute("UPDATE runs SET artifact_uri = NULL WHERE experiment_id != ?", (run.experiment_id,))
    assert addresses(folder) and all(one.startswith("mlflow-artifacts:/") for one in addresses(folder))
    rewrite(folder, "mlflow-artifacts:/", f"{(folder / artifacts.FOLDER).as_uri()}/")
    return folder


def use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow is the database in a folder; the working directory is another one."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")


def addresses(folder: Path) -> list[str]:
    """Every address of the tables that leads to files."""
    with sqlite3.connect(folder / "mlflow.db") as connection:
        rows = [
            row
            for table, column in artifacts.ADDRESSES
            for row in connection.execute(f"SELECT {column} FROM {table} WHERE {column} NOT LIKE 'models:/%'")
        ]
    return [text for (text,) in rows]


def rewrite(folder: Path, old: str, new: str) -> None:
    with sqlite3.connect(folder / "mlflow.db") as connection:
        for table, column in artifacts.ADDRESSES:
            connection.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (old, new))
