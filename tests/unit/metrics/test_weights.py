"""Weights files: from a path, from S3 and from where they are published; kept, checked, and loaded without running anything."""

from __future__ import annotations

import hashlib
import io
import pickle
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from atelier.extractors import ExtractorError
from atelier.extractors.weights import Weights, read, read_published, tensors
from atelier.io.storage import S3Storage, StorageAway

URL = "https://example.org/of/weights-1.pth"
CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches" / "atelier"


# --- published


class Web:
    """Stands for the network: serves `content`, or fails; counts the requests."""

    def __init__(self, content: bytes | None) -> None:
        self.content, self.requests = content, 0

    def __call__(self, url: str, timeout: float) -> Any:
        self.requests += 1
        assert url == URL
        assert timeout > 0
        if self.content is None:
            raise urllib.error.URLError("no route to host")
        response = io.BytesIO(self.content)
        response.length = len(self.content)  # type: ignore[attr-defined]
        return response


def test_without_a_network_the_error_says_how_to_bring_the_file(monkeypatch: pytest.MonkeyPatch, caches: Path) -> None:
    monkeypatch.setattr("urllib.request.urlopen", Web(None))
    with pytest.raises(ExtractorError) as error:
        read_published(URL, SHA256)
    for part in (str(caches / "weights-1.pth"), URL, SHA256, "no route to host", "set evaluate.weights (--weights) to its path"):
        assert part in str(error.value)
    (caches / "weights-1.pth").parent.mkdir(parents=True)
    (caches / "weights-1.pth").write_bytes(CONTENT)  # what the error asks for
    assert read_published(URL, SHA256).content == CONTENT


def test_published_weights_are_fetched_once_and_checked_always(monkeypatch: pytest.MonkeyPatch, caches: Path) -> None:
    web = Web(CONTENT)
    monkeypatch.setattr("urllib.request.urlopen", web)
    for _ in range(2):
        found = read_published(URL, SHA256)
        assert (found.content, found.sha256) == (CONTENT, SHA256)
    assert web.requests == 1
    (caches / "weights-1.pth").write_bytes(CONTENT[:-1])
    with pytest.raises(ExtractorError, match=f"{caches / 'weights-1.pth'}: sha256 is .*, not {SHA256} .*; replace it"):
        read_published(URL, SHA256)


def test_fetched_weights_of_another_hash_are_not_kept(monkeypatch: pytest.MonkeyPatch, caches: Path) -> None:
    monkeypatch.setattr("urllib.request.urlopen", Web(b"something else"))
    with pytest.raises(ExtractorError, match=f"{URL}: sha256 is .*, not {SHA256}"):
        read_published(URL, SHA256)
    assert not list(caches.glob("*"))


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


# --- loading


def loaded(name: str, content: bytes) -> dict[str, torch.Tensor]:
    return tensors(Weights(name, content, hashlib.sha256(content).hexdigest()))


def pth(value: Any, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def test_tensors_are_read_from_either_kind_of_file() -> None:
    state = {"a": torch.arange(6.0).view(2, 3), "b.c": torch.tensor([True])}
    for name, content in (
        ("x.safetensors", safetensors.torch.save(state)),
        ("x.pth", pth(state)),
        ("s3://bucket/x.pth", pth(state, zipped=False)),
    ):
        found = loaded(name, content)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[key], value) for key, value in state.items())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_would_run_code_is_refused(tmp_path: Path, zipped: bool) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    for content in (pth({"weight": Trap()}, zipped), pickle.dumps(Trap(), protocol=2)):
        with pytest.raises(ExtractorError, match=r"x.pth: holds more than tensors, so it is not loaded"):
            loaded("x.pth", content)
    assert not (tmp_path / "sprung").exists()


def test_damaged_files_are_refused() -> None:
    state = {"a": torch.arange(1000.0)}
    for name, content in (
        ("x.safetensors", safetensors.torch.save(state)),
        ("x.pth", pth(state)),
        ("x.pth", pth(state, zipped=False)),
    ):
        for damaged in (b"", b"\n", content[:10], content[: len(content) // 2], content[:-1], content[1:], b"no weights"):
            with pytest.raises(ExtractorError, match=f"{name}: "):
                loaded(name, damaged)


def test_what_is_no_state_dict_is_refused() -> None:
    for value in (torch.zeros(2), [torch.zeros(2)], {"model": {"a": torch.zeros(2)}}, {"epoch": 3}):
        with pytest.raises(ExtractorError, match=r"x.pth: holds more than named tensors; save the network's state dict alone"):
            loaded("x.pth", pth(value))
