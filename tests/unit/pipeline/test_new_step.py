"""A new step is a file in components/ and a stage of dvc.yaml: its command line and its task of Kubeflow follow."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from kfp import dsl

import components
from components import cli
from pipelines import dag
from pipelines.task import Bound
from tests.support.compiled_yaml import compiled, project_folder

COUNT = '''
"""Counts the images of a set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from components import cli
from components.contract import Dataset, Evaluation, In, Out, Page, component


@component(
    {"samples": "evaluate.samples"}, light=True, reusable=True, retries=1,
    pages={"summary": Page("Markdown", lambda found, _: f"# {found} files")}, reason=lambda folder: (folder / "why").read_text(),
)
def count(
    samples: int,
    data: Annotated[In[Dataset], "the packed images"],
    output: Annotated[Out[Evaluation], "where the count goes"],
    at_least: Annotated[int, "fewer are refused (default: 1)"] = 1,
) -> int:
    """Counts, and refuses what is too small."""
    found = len(list(data.iterdir()))
    output.mkdir()
    (output / "why").write_text("" if found >= at_least else f"{found} files of {samples}")
    return found


def main() -> None:
    print(cli.call(count, cli.parser(count, __doc__).parse_args()))
'''
STAGES = """\
stages:
  prepare:
    cmd: python -m components.prepare --section data.base --output packed
  count:
    cmd: python -m components.count --data packed --output counted --at-least 3
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "count.py").write_text(COUNT, encoding="utf-8")
    monkeypatch.setattr(components, "__path__", [*components.__path__, str(tmp_path)])
    monkeypatch.chdir(project_folder(tmp_path, STAGES))
    return tmp_path


def test_its_task_follows_from_its_contract(project: Path) -> None:
    tasks = compiled(dag.Cluster(reuse=True), project)
    task = tasks["count"]
    assert task.artifacts == {"data": ("prepare", "images")} and task.cached
    assert task.entry["retryPolicy"]["maxRetryCount"] == 1 and task.container["image"] == dag.DATA_IMAGE
    assert task.parameters == {"at_least": ("constant", 3), "settings": ("check", "settings_count")}
    declared = task.component["inputDefinitions"]["parameters"]["settings"]["parameterType"]
    given = tasks["check"].component["outputDefinitions"]["parameters"]["settings_count"]["parameterType"]
    assert declared == given == "STRUCT"
    assert {*task.component["outputDefinitions"]["artifacts"]} == {"evaluation", "summary"}
    assert task.component["outputDefinitions"]["parameters"]["Output"]["parameterType"] == "BOOLEAN"


def test_its_command_line_and_its_task_do_the_same(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import components.count as module  # type: ignore[import-not-found]

    (project / "data").mkdir()
    (project / "data" / "one").write_text("1")
    words = ["count", "--data", "data", "--output", "made", "--at-least", "2"]
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(sys, "argv", words)
        cli.run(module.main)
    assert capsys.readouterr().out == "1\n"
    artifacts = {name: dsl.Artifact(uri=str(project / name)) for name in ("data", "evaluation", "summary")}
    assert Bound(module.count, "count").execute({"settings": {"samples": 9}, "at_least": 2, **artifacts}) is False
    assert "rejected: 1 files of 9" in capsys.readouterr().err
    assert (project / "summary").read_text() == "# 1 files"
