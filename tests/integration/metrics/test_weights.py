"""Weights files: from a path, from S3 and from where they are published; kept, checked, and loaded without running anything."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from atelier.extractors import ExtractorError
from atelier.extractors.weights import read
from atelier.io.storage import S3Storage, StorageAway
from tests.support.fetched_weights import CONTENT, caches_fixture

__all__ = ["caches_fixture"]


# --- from S3


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of the objects that were read."""
    keys: list[str] = []
    plain = S3Storage.read

    def counted(self: S3Storage, entries: Any) -> Any:
        keys.extend(entry.handle for entry in entries)
        return plain(self, entries)

    monkeypatch.setattr(S3Storage, "read", counted)
    return keys


def test_an_object_is_fetched_once_for_each_of_its_versions(s3: Any, caches: Path, fetched: list[str]) -> None:
    uri = f"s3://{s3.bucket}/of/a net.onnx"
    for content in (CONTENT, b"heights"):
        s3.client.put_object(Bucket=s3.bucket, Key="of/a net.onnx", Body=content)
        for _ in range(2):
            found = read(uri)
            assert (found.content, found.origin) == (content, uri)
            assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert fetched == ["of/a net.onnx"] * 2


def test_a_damaged_copy_is_named_and_fetched_again(
    s3: Any, caches: Path, fetched: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    s3.client.put_object(Bucket=s3.bucket, Key="weights.pth", Body=CONTENT)
    uri = f"s3://{s3.bucket}/weights.pth"
    read(uri)
    (copy,) = (caches / "s3").iterdir()
    copy.write_bytes(CONTENT[:-1])
    assert read(uri).content == CONTENT
    assert f"{copy}: is damaged; fetching it again" in capsys.readouterr().err
    assert copy.read_bytes() == CONTENT
    assert len(fetched) == 2


def test_an_object_that_is_replaced_while_it_is_read_is_not_kept(s3: Any, caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.client.put_object(Bucket=s3.bucket, Key="weights.pth", Body=CONTENT)
    plain = S3Storage.read

    def replaced(self: S3Storage, entries: Any) -> Any:
        found = list(plain(self, entries))
        s3.client.put_object(Bucket=s3.bucket, Key="weights.pth", Body=b"newer ones")
        return found

    monkeypatch.setattr(S3Storage, "read", replaced)
    assert read(f"s3://{s3.bucket}/weights.pth").content == CONTENT
    assert not list(caches.glob("*"))


def test_what_cannot_be_read_from_s3_is_named(s3: Any, caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for uri in ("s3://", f"s3://{s3.bucket}", f"s3://{s3.bucket}/folder/"):
        with pytest.raises(ExtractorError, match=f"{uri}: names no object; set evaluate.weights"):
            read(uri)
    with pytest.raises(ExtractorError, match=f"s3://{s3.bucket}/absent.pth: .* or correct evaluate.weights"):
        read(f"s3://{s3.bucket}/absent.pth")
    with pytest.raises(ExtractorError, match=r"no bucket 'atelier-absent' .* or correct evaluate.weights"):
        read("s3://atelier-absent/weights.pth")


def test_a_store_that_is_away_may_be_asked_again(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageAway, match="cannot be reached"):
        read("s3://bucket/weights.pth")
