"""Images that DVC keeps in a real S3 store, fetched where there is no repository."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from atelier.io import progress
from atelier.io.files import read_json
from components import fetch as component
from components.fetch import ARCHIVE, FetchError, fetch, unpacked
from components.prepare import prepare, prepare_part
from tests.support.repository_settings import settings
from tests.support.small import write_images


def dvc(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(s3: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC repository with a folder and a file of images, both pushed."""
    folder = tmp_path_factory.mktemp("repository")
    write_images(folder / "digits", 6, seed=0)
    (folder / "one.zip").write_bytes(b"not really a zip")
    dvc(folder, "init", "--no-scm", "-q")
    dvc(folder, "remote", "add", "-d", "origin", f"s3://{s3.bucket}/cache")
    dvc(folder, "add", "-q", "digits", "one.zip")
    dvc(folder, "push", "-q")
    return folder


def address(repository: Path, name: str) -> str:
    code = f"import dvc.api; print(dvc.api.get_url({name!r}))"
    return subprocess.run([sys.executable, "-c", code], cwd=repository, check=True, capture_output=True, text=True).stdout.strip()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_and_a_file_come_back_as_they_were(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")  # as for a user whom the container does not know
    folder = tmp_path / "fetched"
    assert fetch(address(repository, "digits"), folder) == folder / ARCHIVE
    with unpacked(folder) as found:
        assert contents(found) == contents(repository / "digits")
    assert not found.exists()
    assert {path.name for path in folder.iterdir()} == {ARCHIVE, "fetched.txt"}  # however many images there are
    before = (folder / ARCHIVE).read_bytes()
    fetch(address(repository, "digits"), folder)
    assert (folder / ARCHIVE).read_bytes() == before
    fetch(address(repository, "one.zip"), folder)  # what was there is replaced
    with unpacked(folder) as found:
        assert found.read_bytes() == b"not really a zip"


def test_fetching_is_told(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(component, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    fetch(address(repository, "digits"), tmp_path / "fetched")
    told = capsys.readouterr().err
    assert "fetch: 6 of 6 files, " in told and "archive: 6 of 6 files, " in told


def test_an_archive_that_points_outside_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / ARCHIVE, "w:") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    with pytest.raises(tarfile.TarError, match="no file or folder below"), unpacked(tmp_path):
        pass


def test_what_was_fetched_is_packed_as_what_was_not(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    fetch(address(repository, "digits"), tmp_path / "fetched")
    here = settings("data.base.source=folder", f"data.base.path={repository / 'digits'}").data["base"]
    prepare(here, tmp_path / "here", "atelier", "data.base")
    elsewhere = here.model_copy(update={"path": "data/raw/digits"})
    prepare(elsewhere, tmp_path / "there", "atelier", "data.base", raw=tmp_path / "fetched")
    assert prepare_part(elsewhere, 1, 1, tmp_path / "part", "atelier", "data.base", raw=tmp_path / "fetched") == 6
    assert read_json(tmp_path / "here/manifest.json")["shards"] == read_json(tmp_path / "there/manifest.json")["shards"]


def test_the_command_says_where_the_images_are(repository: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "components.fetch",
        "--uri",
        address(repository, "one.zip"),
        "--output",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "out" / ARCHIVE)


def test_a_damaged_object_is_refused(repository: Path, s3: Any, tmp_path: Path) -> None:
    uri = address(repository, "one.zip")
    key = uri.removeprefix(f"s3://{s3.bucket}/")
    s3.client.put_object(Bucket=s3.bucket, Key=key, Body=b"something else!!")
    with pytest.raises(FetchError, match="DVC cannot fetch it"):
        fetch(uri, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()
    s3.client.put_object(Bucket=s3.bucket, Key=key, Body=b"not really a zip")


def test_what_is_missing_or_refused_is_one_line_without_secrets(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = address(repository, "one.zip")
    with pytest.raises(FetchError, match="dvc push"):
        fetch(uri[:-4] + "0000", tmp_path / "fetched")
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-secret")
    with pytest.raises(FetchError, match="AWS_SECRET_ACCESS_KEY") as raised:
        fetch(uri, tmp_path / "fetched")
    assert "\n" not in str(raised.value) and secret not in str(raised.value) and "wrong-and-secret" not in str(raised.value)
