"""python -m pipelines: what it refuses, and what it says to somebody who has not used it before."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from atelier.config.section import SettingsError
from pipelines.client import help_texts
from pipelines.cluster import PipelineError
from pipelines.transcript import Transcript
from tests.support.pipelines_command import IMAGE, pipelines
from tests.support.small import ROOT


@pytest.mark.parametrize("verb", ["compile", "run-local", "submit", "upload"])
def test_a_folder_without_a_project_is_named(verb: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KFP_HOST", "http://localhost:9")
    with pytest.raises(PipelineError, match=r"projects/mine: no such folder; name one with params\.yaml and dvc\.yaml"):
        pipelines(monkeypatch, verb, "projects/mine")
    with pytest.raises(SettingsError, match=r"params\.yaml: cannot be read"):
        pipelines(monkeypatch, verb)


def test_submitting_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("KFP_HOST", raising=False)
    with pytest.raises(PipelineError, match="give --host URL"):
        pipelines(monkeypatch, "submit", "--image", IMAGE)
    with pytest.raises(PipelineError, match=r"--image and --data-image: needed.*docs/kubeflow\.md"):
        pipelines(monkeypatch, "submit", "--host", "http://localhost:9")
    with pytest.raises(PipelineError, match=r"--host 'kubeflow\.example': write an address"):
        pipelines(monkeypatch, "submit", "--host", "kubeflow.example", "--image", IMAGE)
    assert "make images" in (ROOT / "docs" / "kubeflow.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", ["compile", "run-local", "submit", "upload", "schedule", "status", "logs", "wait", "terminate"])
def test_every_verb_explains_itself(verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        pipelines(monkeypatch, verb, "--help")
    assert raised.value.code == 0
    assert getattr(help_texts, verb.upper().replace("-", "_")).splitlines()[0] in capsys.readouterr().out


def test_help_names_what_a_cluster_needs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        pipelines(monkeypatch, "submit", "--help")
    shown = capsys.readouterr().out
    for word in (
        "Kubeflow Pipelines 2.16",
        "--tracking-uri http://",
        "--image registry.example/",
        "s3://",
        "kubectl port-forward",
    ):
        assert word in shown


LOCAL_RUN = """\
08:00:00.000 - INFO - Executing task \033[96m'check'\033[0m
08:00:00.000 - INFO - Streamed logs:

    error: of another step
    [KFP Executor 2026-11-22 08:00:00,000 INFO]: Loading KFP component "check"
08:00:01.000 - INFO - Executing task \033[96m'prepare-base'\033[0m
    [KFP Executor 2026-11-22 08:00:01,000 INFO]: Got executor_input:
    {
        "inputs": {
            "parameterValues": {"data_base_path": "nowhere"}
        }
    }
    pack: 100%| 32/32
    [KFP Executor 2026-11-22 08:00:01,500 WARNING]: 2 files were left out
    error: data.base.path 'nowhere': no such folder
    a warning at the end of the process
08:00:02.000 - ERROR - Task \033[96m'prepare-base'\033[0m finished with status FAILURE
"""


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_transcript_leaves_out_the_lists_of_inputs_and_finds_the_reason(size: int) -> None:
    shown = io.StringIO()
    transcript = Transcript(shown)
    for start in range(0, len(LOCAL_RUN), size):
        transcript.write(LOCAL_RUN[start : start + size])
    assert transcript.failure == ("prepare-base", "data.base.path 'nowhere': no such folder")
    assert transcript.tasks == ["check", "prepare-base"]
    left = shown.getvalue()
    assert "pack: 100%" in left and "a warning at the end" in left and left.count("Executing task") == 2
    assert "    WARNING: 2 files were left out\n" in left
    assert "KFP Executor" not in left and "parameterValues" not in left and "{" not in left


def test_a_crash_gives_its_last_line_as_the_reason() -> None:
    transcript = Transcript(io.StringIO())
    transcript.write("x - INFO - Executing task 'train'\n    Traceback (most recent call last):\n    MemoryError: no memory\n")
    transcript.write("x - ERROR - Task 'train' finished with status FAILURE\n")
    assert transcript.failure == ("train", "MemoryError: no memory")
