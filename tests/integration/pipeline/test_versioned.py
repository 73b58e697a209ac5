"""Images that DVC tracks reach a cluster by the address of their content."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.fetch import fetch, unpacked
from pipelines import versioned
from pipelines.cluster import PipelineError
from tests.support.repository_settings import settings
from tests.support.small import folder_hash, write_images


def dvc(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository with a remote, images in it, and a process that works there."""
    write_images(tmp_path / "data/raw/digits", 4, seed=0)
    dvc(tmp_path, "init", "--no-scm", "-q")
    dvc(tmp_path, "remote", "add", "-d", "origin", f"s3://{s3.bucket}/versioned")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def came_back(uri: str, output: Path) -> dict[str, str]:
    """The hashes of what is fetched."""
    fetch(uri, output)
    with unpacked(output) as found:
        return folder_hash(found)


def test_the_address_is_that_of_the_content(repository: Path, tmp_path: Path) -> None:
    chosen = settings("data.base.source=folder", "data.base.path=data/raw/digits")
    dvc(repository, "add", "-q", "data/raw/digits")
    with pytest.raises(PipelineError, match="not in DVC's remote yet; `dvc push`"):
        versioned.addresses(chosen)
    dvc(repository, "push", "-q")
    (first,) = versioned.addresses(chosen).values()
    assert versioned.addresses(chosen) == {"data.base": first}  # unchanged images: the same artifact, so Kubeflow's cache holds
    assert came_back(first, tmp_path / "fetched") == folder_hash(repository / "data/raw/digits")
    write_images(repository / "data/raw/digits", 6, seed=1)
    assert versioned.addresses(chosen) == {"data.base": first}  # DVC has not been told
    dvc(repository, "add", "-q", "data/raw/digits")
    dvc(repository, "push", "-q")
    (second,) = versioned.addresses(chosen).values()
    assert second != first
    assert came_back(second, tmp_path / "fetched") == folder_hash(repository / "data/raw/digits")


def test_what_dvc_does_not_have_is_said_with_the_remedy(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("no-repository")
    for path in ("data/raw/digits", "data/raw/nowhere", str(outside)):
        with pytest.raises(PipelineError, match=r"data\.base\.path .* is on this machine.*dvc add.*source: s3"):
            versioned.addresses(settings("data.base.source=folder", f"data.base.path={path}"))


def test_a_remote_that_refuses_is_said(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dvc(repository, "add", "-q", "data/raw/digits")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(PipelineError, match=r"data\.base\.path .* DVC's remote cannot be read; s3://.*AWS_SECRET_ACCESS_KEY"):
        versioned.addresses(settings("data.base.source=folder", "data.base.path=data/raw/digits"))
