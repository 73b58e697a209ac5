"""Where a run says it comes from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from atelier.tracking.place import TrackingError
from atelier.tracking.provenance import environment_tags, git_state, pipeline_key


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    ours = ("ATELIER_PIPELINE_RUN", "ATELIER_GIT_COMMIT", "ATELIER_IMAGE", "DVC_EXP_NAME")
    for name in (*ours, "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("a: 1\n")
    git("init", "-q")
    git("add", "params.yaml")
    git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "one")
    return tmp_path


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def test_commit_and_dirt(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = git("rev-parse", "HEAD")
    assert git_state() == {"commit": commit, "dirty": "false"}
    (repository / "dvc.lock").write_text("written by dvc repro\n")
    (repository / "sub").mkdir()
    monkeypatch.chdir(repository / "sub")
    assert git_state()["dirty"] == "false"
    (repository / "params.yaml").write_text("a: 2\n")
    assert git_state()["dirty"] == "false", "its values are kept with what they made"
    (repository / "code.py").write_text("print()\n")
    assert git_state() == {"commit": commit, "dirty": "true"}


def test_without_a_repository_the_image_tells_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATELIER_GIT_COMMIT", raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert git_state() == {}
    monkeypatch.setenv("ATELIER_GIT_COMMIT", "abc")
    assert git_state() == {"commit": "abc", "dirty": "unknown"}


def test_the_pipeline_key_follows_commit_parameters_and_experiment(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pipeline_key()
    assert first == pipeline_key() and len(first) == 64
    (repository / "params.yaml").write_text("a: 2\n")
    changed = pipeline_key()
    git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qam", "two")
    committed = pipeline_key()
    monkeypatch.setenv("DVC_EXP_NAME", "cosy-owl")
    experiment = pipeline_key()
    monkeypatch.setenv("DVC_EXP_NAME", "bony-elk")
    assert len({first, changed, committed, experiment, pipeline_key()}) == 5


def test_a_pipeline_run_may_have_a_name(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_PIPELINE_RUN", "kfp:run-1")
    assert pipeline_key() == "kfp:run-1"
    monkeypatch.setenv("ATELIER_PIPELINE_RUN", "it's")
    with pytest.raises(TrackingError, match="ATELIER_PIPELINE_RUN"):
        pipeline_key()


def test_tags_name_dvc_and_the_image(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "train")
    monkeypatch.setenv("DVC_EXP_NAME", "cosy-owl")
    image = "registry.example:5000/team/atelier@sha256:" + "1" * 64
    monkeypatch.setenv("ATELIER_IMAGE", image)
    tags = environment_tags()
    assert tags["dvc.stage"] == "train" and tags["dvc.experiment"] == "cosy-owl" and tags["atelier.image"] == image
    assert tags["atelier.git_commit"] == tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD")


def test_a_folder_of_another_user_is_said_once(
    repository: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    assert git_state() == git_state() == {}
    (said,) = caplog.messages
    assert said.endswith(f"belongs to another user; allow it: git config --global --add safe.directory {repository}")
