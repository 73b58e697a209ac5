"""Images that DVC tracks reach a cluster by the address of their content."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from atelier.config.settings import Settings, load
from components.fetch import fetch
from pipelines import options, versioned
from pipelines.cluster import PipelineError
from tests.support.small import ROOT, folder_hash, write_images


def dvc(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, check=True, capture_output=True)


def settings(*overrides: str) -> Settings:
    return load(ROOT / "params.yaml", list(overrides))


@pytest.fixture
def repository(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository with a remote, images in it, and a process that works there."""
    write_images(tmp_path / "data/raw/digits", 4, seed=0)
    dvc(tmp_path, "init", "--no-scm", "-q")
    dvc(tmp_path, "remote", "add", "-d", "origin", f"s3://{s3.bucket}/versioned")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_address_is_that_of_the_content(repository: Path, tmp_path: Path) -> None:
    chosen = settings("data.source=folder", "data.path=data/raw/digits")
    dvc(repository, "add", "-q", "data/raw/digits")
    with pytest.raises(PipelineError, match="not in DVC's remote yet; `dvc push`"):
        versioned.addresses(chosen)
    dvc(repository, "push", "-q")
    (first,) = versioned.addresses(chosen).values()
    assert versioned.addresses(chosen) == {"data": first}  # unchanged images: the same artifact, so Kubeflow's cache holds
    assert folder_hash(fetch(first, tmp_path / "fetched")) == folder_hash(repository / "data/raw/digits")
    write_images(repository / "data/raw/digits", 6, seed=1)
    assert versioned.addresses(chosen) == {"data": first}  # DVC has not been told
    dvc(repository, "add", "-q", "data/raw/digits")
    dvc(repository, "push", "-q")
    (second,) = versioned.addresses(chosen).values()
    assert second != first
    assert folder_hash(fetch(second, tmp_path / "fetched")) == folder_hash(repository / "data/raw/digits")


def test_what_dvc_does_not_have_is_said_with_the_remedy(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("no-repository")
    for path in ("data/raw/digits", "data/raw/nowhere", str(outside)):
        with pytest.raises(PipelineError, match=r"data\.path .* is on this machine.*dvc add.*source: s3"):
            versioned.addresses(settings("data.source=folder", f"data.path={path}"))


def test_a_remote_that_refuses_is_said(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dvc(repository, "add", "-q", "data/raw/digits")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(PipelineError, match=r"data\.path .* DVC's remote cannot be read; s3://.*AWS_SECRET_ACCESS_KEY"):
        versioned.addresses(settings("data.source=folder", "data.path=data/raw/digits"))


def test_images_that_every_node_sees_need_no_dvc() -> None:
    assert versioned.addresses(settings()) == {}
    assert versioned.addresses(settings("data.source=s3", "data.path=s3://bucket/images")) == {}


@pytest.mark.parametrize(
    ("sweeps", "expected"),
    [
        ([], []),
        (["train.seed=0,1"], [{"train.seed": 0}, {"train.seed": 1}]),
        (["train.seed=3"], [{"train.seed": 3}]),
        (
            ["train.seed=0,1", "train.objective=relativistic,minimax"],
            [{"train.seed": seed, "train.objective": name} for seed in (0, 1) for name in ("relativistic", "minimax")],
        ),
        (
            ["model.r3gan.channels=[64, 64, 32],[32, 32, 32]"],
            [{"model.r3gan.channels": [64, 64, 32]}, {"model.r3gan.channels": [32] * 3}],
        ),
    ],
)
def test_a_sweep_is_all_combinations(sweeps: list[str], expected: list[dict[str, Any]]) -> None:
    assert list(options.trials(sweeps, settings())) == expected


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ("train.seed", "write KEY=VALUE,VALUE"),
        ("train.seed=", "write KEY=VALUE,VALUE"),
        ("train.sed=1", "train.sed: unknown key; allowed here"),
        ("evaluate.seed=1", "no such key; a sweep varies what is in model and train"),
        ("seed=1", "no such key"),
        ("train.lr_generator=2", "train.lr_generator"),
        ("train.seed=" + ",".join(map(str, range(101))), "101 trials, more than 100"),
    ],
)
def test_a_sweep_that_could_not_run_is_refused(sweep: str, said: str) -> None:
    with pytest.raises(Exception, match=said.replace(".", r"\.")) as raised:
        options.trials([sweep], settings())
    assert raised.type.__name__ in ("PipelineError", "SettingsError")
