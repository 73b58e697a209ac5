"""Images that DVC keeps in a real S3 store, fetched where there is no repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.fetch import IMAGES, FetchError, fetch
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
    found = fetch(address(repository, "digits"), tmp_path / "fetched")
    assert found == tmp_path / "fetched" / IMAGES
    assert contents(found) == contents(repository / "digits")
    assert {path.name for path in (tmp_path / "fetched").iterdir()} == {IMAGES, "fetched.txt"}
    file = fetch(address(repository, "one.zip"), tmp_path / "fetched")  # what was there is replaced
    assert file.read_bytes() == b"not really a zip"


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
    assert Path(done.stdout.strip()).read_bytes() == b"not really a zip"


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
