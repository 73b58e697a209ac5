"""python -m pipelines: what it refuses, and what it says to somebody who has not used it before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.compiled_yaml import project_folder
from tests.support.pipelines_command import IMAGE, pipelines
from tests.support.small import ROOT


def test_a_cluster_that_does_not_answer_is_one_line() -> None:
    command = [sys.executable, "-m", "pipelines", "submit", "--host", "http://localhost:9", "--image", IMAGE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: http://localhost:9: does not answer (") and "check --host" in line


def test_compiling_writes_a_file_to_upload(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(project_folder(tmp_path / "project"))
    pipelines(monkeypatch, "compile")
    assert "pipeline.yaml: pipeline 'atelier', no image yet" in capsys.readouterr().out
    cluster = ("--image", IMAGE, "--tracking-uri", "http://mlflow", "--sweep", "train.seed=0,1", "--reuse")
    monkeypatch.chdir(tmp_path)
    pipelines(monkeypatch, "compile", "project", *cluster, "--output", "compiled.yaml")
    texts = [(tmp_path / name).read_text(encoding="utf-8") for name in ("project/pipeline.yaml", "compiled.yaml")]
    assert [IMAGE in text and "sweep_trials" in text for text in texts] == [False, True]
