"""A database of MLflow and its files find each other wherever their folder is, those of before too."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

from atelier.registry.__main__ import main
from atelier.registry.fetch import check_store, load_checkpoint
from atelier.tracking import artifacts
from atelier.tracking.client import client
from atelier.tracking.place import TrackingError
from atelier.tracking.step_run import step_run
from atelier_mlflow import place
from tests.support.artifacts_of_before import EXPERIMENT, addresses, of_before_fixture, use
from tests.support.small import folder_hash

__all__ = ["of_before_fixture"]


def texts_with(folder: Path, needle: str) -> set[str]:
    """TABLE.COLUMN of every text in the database that holds the needle."""
    found = set()
    with sqlite3.connect(folder / "mlflow.db") as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for _, column, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
                if connection.execute(f"SELECT 1 FROM {table} WHERE {column} LIKE ?", (f"%{needle}%",)).fetchone():
                    found.add(f"{table}.{column}")
    return found


def log_something(name: str) -> Path:
    """The file that a run of the experiment leaves, below the working directory or elsewhere."""
    with step_run(name, EXPERIMENT, {}, required=True) as run:
        MlflowClient(os.environ["MLFLOW_TRACKING_URI"]).log_text(run.opened_id, "it", "it.txt")
        return place(Path(os.environ["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")), _uri(run.opened_id)) / "it.txt"


def _uri(run_id: str) -> str:
    return str(client().get_run(run_id).info.artifact_uri)


@pytest.mark.parametrize("how", ["stays", "moves", "is copied"])
def test_a_folder_of_before_may_move(of_before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    before, folder = folder_hash(of_before), of_before
    if how != "stays":
        folder = tmp_path / "with a space"
        (shutil.copytree if how == "is copied" else shutil.move)(of_before, folder)  # type: ignore[operator]
    use(folder, monkeypatch)
    load_checkpoint("models:/digits/1", tmp_path / "pulled")
    assert all(one.startswith("mlflow-artifacts:/") for one in addresses(folder))
    assert not {text for text in texts_with(folder, str(of_before)) if not text.startswith("logged_model_tags.")}
    assert log_something(f"after it {how}").read_text() == "it"
    assert folder in log_something(f"again after it {how}").parents
    if how == "is copied":
        assert folder_hash(of_before) == before, "nothing of the original has changed"


def test_a_folder_moves_again_and_plain_mlflow_finds_its_models(
    of_before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a fresh process loads a generator by MLflow alone is in test_register.py."""
    use(of_before, monkeypatch)
    client().set_registered_model_alias("digits", "champion", "1")
    moved = Path(shutil.move(of_before, tmp_path / "moved"))
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", f"sqlite:///{moved}/mlflow.db")
    model = Path(mlflow.artifacts.download_artifacts("models:/digits@champion", dst_path=str(tmp_path / "model")))
    assert (model / "data" / "generator" / "generator.safetensors").is_file()


def test_files_that_are_elsewhere_alone_are_refused_until_they_are_brought(
    of_before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a copy in which the code of before has trained: it wrote into the original."""
    copy = Path(shutil.copytree(of_before, tmp_path / "copy"))
    before = folder_hash(of_before)
    shutil.rmtree(copy / artifacts.FOLDER / EXPERIMENT / "models")
    use(copy, monkeypatch)
    with pytest.raises(TrackingError) as refused:
        log_something("in the copy")
    told = str(refused.value)
    assert f"files of 1 runs and models are in {of_before}/mlartifacts, not in {copy}/mlartifacts" in told
    assert "python -m atelier.registry relocate" in told
    with pytest.raises(TrackingError, match="relocate"):
        check_store("models:/digits/1")
    monkeypatch.setattr(sys, "argv", ["registry", "relocate"])
    main()
    assert f"copied to {copy}/mlartifacts/{EXPERIMENT}/models/m-" in capsys.readouterr().out
    main()
    assert "0 addresses changed" in capsys.readouterr().out
    load_checkpoint("models:/digits/1", tmp_path / "pulled")
    assert copy in log_something("in the copy").parents and folder_hash(of_before) == before


def test_what_somebody_has_put_elsewhere_stays_there(of_before: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = ["s3://bucket/runs", "file:///mnt/large/runs", "mlflow-artifacts://mlflow:5000/runs"]
    use(of_before, monkeypatch)
    with sqlite3.connect(of_before / "mlflow.db") as connection:
        rows = [row for (row,) in connection.execute("SELECT run_uuid FROM runs LIMIT 3")]
        for row, one in zip(rows, chosen, strict=True):
            connection.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (one, row))
    client()
    assert set(chosen) <= set(addresses(of_before))


def test_an_experiment_of_mlflows_own_writes_into_no_other_folder(
    of_before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other" / "mlruns" / "7").mkdir(parents=True)
    use(of_before, monkeypatch)
    client().create_experiment("plain", artifact_location=(tmp_path / "other" / "mlruns" / "7").as_uri())
    told = r"would be written to .*other/mlruns/7, outside of its folder; run .* relocate"
    with pytest.raises(TrackingError, match=told), step_run("train", "plain", {}, required=True):
        pass
    artifacts.relocate(of_before / "mlflow.db")
    with step_run("train", "plain", {}, required=True) as run:
        assert _uri(run.opened_id).startswith("mlflow-artifacts:/7/")


def test_models_that_are_gone_are_named(of_before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(of_before, monkeypatch)
    check_store("models:/digits/1")
    check_store("models:/digits/2")  # which may come
    shutil.rmtree(of_before / artifacts.FOLDER)
    for ask in (check_store, lambda uri: load_checkpoint(uri, tmp_path / "pulled")):
        with pytest.raises(TrackingError) as told:
            ask("models:/digits/1")
        assert f"its files are not at {of_before}/mlartifacts/{EXPERIMENT}/models/m-" in str(told.value)
        assert "bring that folder back" in str(told.value)
    monkeypatch.setattr(sys, "argv", ["registry", "relocate"])
    with pytest.raises(TrackingError, match=f"{of_before}/mlartifacts has no files of digits version 1; bring that folder"):
        main()
    use(tmp_path / "nowhere", monkeypatch)
    with pytest.raises(TrackingError, match=r"no such file; run it in the folder that holds mlflow\.db"):
        check_store("models:/digits/1")
    assert not (tmp_path / "nowhere").exists()


def test_an_address_leads_nowhere_else(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert place(tmp_path / "mlflow.db", "mlflow-artifacts:/a/b") == tmp_path / "mlartifacts" / "a" / "b"
    for wrong in ("mlflow-artifacts:/../b", "mlflow-artifacts:/a/../../b"):
        with pytest.raises(MlflowException, match="leads out of"):
            get_artifact_repository(wrong, tracking_uri=uri)
    for tracking, address in (("http://mlflow:5000", "mlflow-artifacts:/a"), ("http://mlflow", "mlflow-artifacts://other:1/a")):
        assert isinstance(get_artifact_repository(address, tracking_uri=tracking), MlflowArtifactsRepository)
