"""Where things go that outlive a run, in a working directory and in DVC's copies of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from atelier.io.workspace import lasting
from atelier.tracking.place import tracking_uri


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A project of DVC with a copy for a queued experiment and one for `exp run --temp`."""
    for copy in ("", ".dvc/tmp/exps/tmpabc", ".dvc/tmp/exps/standalone/tmpabc"):
        (tmp_path / copy / ".dvc").mkdir(parents=True)
        (tmp_path / copy / "recipes").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("here", "found"),
    [
        (".", "cache"),
        ("recipes", "cache"),
        (".dvc/tmp/exps/tmpabc", "{}/cache"),
        (".dvc/tmp/exps/standalone/tmpabc", "{}/cache"),
        (".dvc/tmp/exps/tmpabc/recipes", "{}/recipes/cache"),
    ],
)
def test_a_copy_keeps_what_lasts_in_the_workspace(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, here: str, found: str
) -> None:
    monkeypatch.chdir(workspace / here)
    monkeypatch.setenv("DVC_ROOT", str(workspace))
    assert lasting(Path("cache")) == Path(found.format(workspace))
    assert lasting(Path("/elsewhere")) == Path("/elsewhere")


def test_another_project_is_no_copy(
    workspace: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / ".dvc").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(workspace))
    monkeypatch.chdir(other)
    assert lasting(Path("cache")) == Path("cache")
    monkeypatch.delenv("DVC_ROOT")
    monkeypatch.chdir(workspace / ".dvc/tmp/exps/tmpabc")
    assert lasting(Path("cache")) == Path("cache")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("", "sqlite:///{}/mlflow.db"),
        ("sqlite:///runs/own.db?timeout=9", "sqlite:///{}/runs/own.db?timeout=9"),
        ("sqlite:////there/mlflow.db", "sqlite:////there/mlflow.db"),
        ("http://mlflow:5000", "http://mlflow:5000"),
    ],
)
def test_mlflow_is_the_workspaces(workspace: Path, monkeypatch: pytest.MonkeyPatch, given: str, found: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    monkeypatch.setenv("DVC_ROOT", str(workspace))
    monkeypatch.chdir(workspace / ".dvc/tmp/exps/tmpabc")
    assert tracking_uri() == found.format(workspace)
