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
from atelier.extractors.tensors import tensors
from atelier.extractors.weights import Weights, read_published
from tests.support.fetched_weights import CONTENT, caches_fixture

__all__ = ["caches_fixture"]

URL = "https://example.org/of/weights-1.pth"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


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
