"""Every family from images to a registered, fine-tuned generator, by another `model.architecture` in params.yaml alone.

`make test-families`: minutes, so `make test` leaves it out. Networks have the sizes of params.yaml, data are small.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from atelier.models.model import load_generator
from tests.support.clone import STAGES, Clone, make_clone, skipped
from tests.support.small import run_local, write_params
from tests.support.small_models import FROM_NOISE

MLP = "architecture: mlp"  # as write_params has it


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return make_clone(tmp_path_factory.mktemp("clone"))


def choose(params: Path, family: str) -> None:
    """Edits the one line that a user edits, and lets generators of eight steps pass."""
    text = params.read_text(encoding="utf-8")
    for before, after in ((MLP, f"architecture: {family}"), ("max_distance: 400", "max_distance: 10000")):
        assert text.count(f"  {before}") == 1, before
        text = text.replace(f"  {before}", f"  {after}")
    params.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("family", FROM_NOISE)
def test_dvc(family: str, clone: Clone) -> None:
    clone.run("git", "checkout", "--quiet", "params.yaml")
    choose(clone.folder / "params.yaml", family)
    output = clone.dvc("repro")
    assert skipped(output) <= {"prepare@base", "prepare@target"}
    base, tuned = (load_generator(clone.folder / "models" / name) for name in ("base", "finetuned"))
    assert base.info.model["architecture"] == tuned.info.model["architecture"] == family
    assert tuned.info.parent and tuned.info.parent["sha256"] == base.sha256
    table = clone.run(sys.executable, "-m", "components.register", "--show", "registration")
    assert "digits-finetuned" in table and "version" in table


@pytest.mark.parametrize("family", FROM_NOISE)
def test_kubeflow_pipeline(family: str, images: Path, tmp_path: Path) -> None:
    write_params(tmp_path / "params.yaml", images)
    choose(tmp_path / "params.yaml", family)
    done = run_local(tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (root,) = tmp_path.glob("pipeline-runs/local-*/atelier-*")
    base, tuned = (load_generator(root / task / "checkpoint") for task in ("train", "finetune"))
    assert base.info.model["architecture"] == tuned.info.model["architecture"] == family
    assert "digits-finetuned" in done.stdout[done.stdout.rindex("Registered generators") :]
    assert len(list(root.glob("*/executor_output.json"))) >= len(STAGES)
