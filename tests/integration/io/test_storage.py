"""Writing to S3, on a real server, and what a server's faults are called."""

from __future__ import annotations

import io
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from atelier.io import storage
from atelier.io.storage import S3Storage, StorageAway, StorageError


@pytest.fixture
def stored(s3: Any) -> S3Storage:
    """A prefix of the test's own."""
    return S3Storage(f"s3://{s3.bucket}/{uuid.uuid4().hex}")


@pytest.mark.parametrize("pieces", [1, 2])
def test_what_is_put_comes_back(pieces: int, stored: S3Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) * 40_000  # 10 MB
    if pieces == 2:
        monkeypatch.setattr(storage, "S3_PUT_BYTES", len(content))  # then pieces of an eighth, which S3 takes from 5 MB on
    stored.put("a/b", io.BytesIO(b"replaced"))
    stored.put("a/b", io.BytesIO(content))
    (entry,) = stored.entries()
    stored.download(entry, tmp_path / "file")
    assert (entry.name, entry.size, (tmp_path / "file").read_bytes()) == ("a/b", len(content), content)


def test_many_are_removed_and_the_rest_stays(stored: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "S3_REMOVED_AT_ONCE", 2)
    for name in "abcdef":
        stored.put(name, io.BytesIO(name.encode()))
    stored.remove(["a", "b", "c", "e", "never-there"])
    assert sorted(entry.name for entry in stored.entries()) == ["d", "f"]


def test_a_removal_that_is_refused_is_an_error(stored: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"Errors": [{"Key": "a", "Code": "AccessDenied", "Message": "no"}]}
    monkeypatch.setattr(stored.client, "delete_objects", lambda **_: answer)
    with pytest.raises(StorageError, match="refuses access"):
        stored.remove(["a"])


class Faulty(BaseHTTPRequestHandler):
    """An S3 server that answers everything with one status."""

    status: ClassVar[int]
    asked: ClassVar[list[str]] = []

    def do_PUT(self) -> None:
        self.asked.append(self.path)
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in (("ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}"), ("ACCESS_KEY_ID", "a")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setattr(Faulty, "asked", [])
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize(("status", "kind"), [(503, StorageAway), (429, StorageAway), (403, StorageError), (400, StorageError)])
def test_a_fault_of_the_store_is_told_from_a_refusal(
    status: int, kind: type[StorageError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Faulty, "status", status, raising=False)
    with pytest.raises(StorageError) as caught:
        S3Storage("s3://bucket/x", timeout=5).put("a", io.BytesIO(b"content"))
    assert type(caught.value) is kind and len(Faulty.asked) == 1, "with a timeout it is tried once"


@pytest.mark.usefixtures("faulty")
def test_without_a_timeout_a_fault_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Faulty, "status", 503, raising=False)
    with pytest.raises(StorageAway):
        S3Storage("s3://bucket/x").put("a", io.BytesIO(b"content"))
    assert len(Faulty.asked) > 1
