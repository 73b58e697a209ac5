"""The whole pipeline of Kubeflow as processes on this machine, on very small data."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import dag, runners
from pipelines.cluster import PipelineError
from pipelines.project import load
from tests.support.small import PARAMS

GRAPH = dag.graph(dag.Cluster(), load(PARAMS), PARAMS.with_name("dvc.yaml"))


def test_a_skipped_end_is_no_success(tmp_path: Path) -> None:
    """kfp.local takes a condition that it cannot read for false, and calls the pipeline a success."""
    summary(tmp_path, "finish")
    with pytest.raises(PipelineError, match="skipped the end of the pipeline without a reason"):
        runners._check_outputs(tmp_path, ["check", "finish"], GRAPH)


def test_a_task_that_left_nothing_is_no_success(tmp_path: Path) -> None:
    summary(tmp_path, "finish")
    with pytest.raises(PipelineError, match="step train left no checkpoint"):
        runners._check_outputs(tmp_path, ["check", "train", "finish"], GRAPH)
    (tmp_path / "atelier-1/train").mkdir(parents=True)
    (tmp_path / "atelier-1/train/checkpoint").write_text("")
    with pytest.raises(PipelineError, match="step train left no checkpoint"):
        runners._check_outputs(tmp_path, ["check", "train", "finish"], GRAPH)


def summary(root: Path, task: str) -> None:
    """What the last task leaves."""
    file = root / "atelier-1" / task / "summary"
    file.parent.mkdir(parents=True)
    file.write_text("ended")
