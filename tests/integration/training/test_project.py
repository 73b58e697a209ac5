"""The Python API: the README's lines, and the same bytes as the command's."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from atelier import Project
from tests.support.driver import TINY
from tests.support.small import ROOT

SMALL = [*TINY, "train.images=640", "train.evaluate_samples=50", "evaluate.samples=50", "finetune.images=320"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("params.yaml", "cluster.yaml"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_from_images_to_samples_and_to_other_images(folder: Path) -> None:
    project = Project.load(folder, SMALL)
    packed = project.prepare(workers=1)
    assert list(packed) == ["base", "target"] and len(packed["base"]) > 4400 and 1500 < len(packed["target"]) < 1797
    info = project.train()
    assert info.images_seen <= 640 and project.evaluate().flat["frechet_efficientnet_lite0"] > 0
    assert project.sample(16).size == project.sample(15).size
    tuned = project.train("finetune")
    assert tuned.parent is not None and tuned.parent["run_key"] == info.run_key
    by_command = [sys.executable, "-m", "components.train", "--params", "params.yaml", "--data", "data/base"]
    by_command += ["--output", "again", "--states", "other", *(f"--set={one}" for one in SMALL)]
    subprocess.run(by_command, check=True, capture_output=True, timeout=300)
    assert (folder / "again" / "generator.safetensors").read_bytes() == Path("models/base/generator.safetensors").read_bytes()


def test_the_lines_of_the_readme(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(from atelier import Project\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 15
    original = Project.load.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(Project, "load", classmethod(lambda cls, where, given=(): original(cls, where, [*given, *SMALL])))
    exec(code, {})  # noqa: S102 - it is our own page
    assert (folder / "samples.png").stat().st_size > 1000
