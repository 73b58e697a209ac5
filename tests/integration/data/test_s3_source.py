"""Images under an S3 prefix, on a real server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from atelier.config.data import DataSettings
from atelier.data.pack import pack
from atelier.io.storage import Entry, LocalStorage, S3Storage, StorageError

Make = Callable[..., DataSettings]


@pytest.fixture
def prefix(s3: Any, encode: Callable[..., bytes], pictures: Any, tmp_path: Path) -> Iterator[str]:
    """20 images in 2 classes under s3://BUCKET/images, the same ones in tmp_path/raw."""
    for number, picture in enumerate(pictures(20)):
        name = f"{'ab'[number % 2]}/{number}.png"
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(picture))
        s3.client.put_object(Bucket=s3.bucket, Key=f"images/{name}", Body=path.read_bytes())
    s3.client.put_object(Bucket=s3.bucket, Key="images/a/", Body=b"")
    s3.client.put_object(Bucket=s3.bucket, Key="images/.hidden", Body=b"x")
    s3.client.put_object(Bucket=s3.bucket, Key="images-of-others/x.png", Body=b"x")
    yield f"s3://{s3.bucket}/images"


@pytest.mark.usefixtures("many_processes")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_prefix_packs_as_the_folder(prefix: str, tmp_path: Path, data_settings: Make, workers: int) -> None:
    stored = pack(data_settings(source="s3", path=prefix), tmp_path / "s3", workers, progress=False)
    local = pack(data_settings(source="folder", path=str(tmp_path / "raw")), tmp_path / "local", 1, progress=False)
    assert stored.content_hash == local.content_hash and stored.shards == local.shards and stored.count == 20
    assert stored.classes == ["a", "b"] and prefix not in (tmp_path / "s3" / "manifest.json").read_text()


@pytest.mark.usefixtures("many_processes")
@pytest.mark.parametrize("workers", [1, 2])
def test_pairs_under_a_prefix(
    s3: Any, encode: Callable[..., bytes], pictures: Any, tmp_path: Path, data_settings: Make, workers: int
) -> None:
    for number, picture in enumerate(pictures(10)):
        for field, image in (("input", 255 - picture), ("target", picture)):
            path = tmp_path / "pairs" / field / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(image))
            s3.client.put_object(Bucket=s3.bucket, Key=f"pairs/{field}/{number}.png", Body=path.read_bytes())
    values: dict[str, Any] = {"fields": {"input": {}, "target": {}}, "labels": False}
    stored = pack(data_settings(source="s3", path=f"s3://{s3.bucket}/pairs", **values), tmp_path / "s3", workers, progress=False)
    local = pack(data_settings(source="folder", path=str(tmp_path / "pairs"), **values), tmp_path / "local", 1, progress=False)
    assert stored.content_hash == local.content_hash and stored.shards == local.shards and stored.count == 10


def small_pages(storage: S3Storage) -> list[tuple[str, str]]:
    """Makes each page of a listing one of 3 keys; the prefix and the delimiter of each page asked for."""
    asked: list[tuple[str, str]] = []

    def three(params: dict[str, Any], **_: Any) -> None:
        params["MaxKeys"] = 3
        asked.append((params["Prefix"], params.get("Delimiter", "")))

    storage.client.meta.events.register("provide-client-params.s3.ListObjectsV2", three)
    return asked


def test_long_listings_come_in_pages(s3: Any) -> None:
    for number in range(7):
        s3.client.put_object(Bucket=s3.bucket, Key=f"many/{number}", Body=b"%d" % number)
    storage = S3Storage(f"s3://{s3.bucket}/many/")
    asked = small_pages(storage)
    entries = sorted(storage.entries(), key=lambda entry: entry.name)
    assert [entry.name for entry in entries] == list("0123456")
    assert asked == [("many/", ""), ("many/", "/"), *[("many/", "")] * 3], "the first shows that there are more"
    assert list(storage.read(entries[::-2])) == [b"6", b"4", b"2", b"0"], "in the order asked for"


@pytest.mark.parametrize("few", [True, False])
def test_folders_are_listed_side_by_side(few: bool, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless they are many, which may be a folder for each object."""
    names = ["x", *(f"{folder}/{number}" for folder in ("a", "b/c") for number in range(4))]
    for name in names:
        s3.client.put_object(Bucket=s3.bucket, Key=f"folders/{name}", Body=b"1")
    monkeypatch.setattr("atelier.io.storage.S3_FOLDERS", 2 if few else 1)
    storage = S3Storage(f"s3://{s3.bucket}/folders")
    asked = small_pages(storage)
    assert sorted(entry.name for entry in storage.entries()) == sorted(names)
    assert asked[:2] == [("folders/", ""), ("folders/", "/")]
    assert sorted(asked[2:]) == ([("folders/a/", "")] * 2 + [("folders/b/", "")] * 2 if few else [("folders/", "")] * 3)


def test_problems_are_named(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(uri: str, *parts: str) -> None:
        with pytest.raises(StorageError) as caught:
            list(S3Storage(uri).entries())
        message = str(caught.value)
        assert all(part in message for part in parts) and "\n" not in message and "wrong-secret" not in message, message

    refused("s3://no-such-bucket-here/x", "no bucket 'no-such-bucket-here'", s3.endpoint, "AWS_ENDPOINT_URL_S3")
    refused("s3:///x", "write s3://bucket/prefix")
    storage = S3Storage(f"s3://{s3.bucket}/short")
    s3.client.put_object(Bucket=s3.bucket, Key="short/a", Body=b"a")
    entries = list(storage.entries())
    s3.client.delete_object(Bucket=s3.bucket, Key="short/a")
    with pytest.raises(StorageError, match=f"s3://{s3.bucket}/short/a: the object is gone"):
        list(storage.read(entries))
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
        refused(f"s3://{s3.bucket}/x", "refuses access", "AWS_SECRET_ACCESS_KEY")
    with monkeypatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        patch.setenv("AWS_CONFIG_FILE", "/nonexistent")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        refused(f"s3://{s3.bucket}/x", "no credentials found", "AWS_ACCESS_KEY_ID")
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        refused(f"s3://{s3.bucket}/x", "http://127.0.0.1:9 cannot be reached", "network")
        patch.setenv("AWS_ENDPOINT_URL_S3", "not a url")
        refused(f"s3://{s3.bucket}/x", "boto3 cannot use these settings")


class Unreliable(BaseHTTPRequestHandler):
    """An S3 server whose first answers end after half of the body, without checking who asks."""

    BODY = b"0123456789"
    halves = 0
    paths: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.paths.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.BODY)))
        self.end_headers()
        self.wfile.write(self.BODY[: 5 if len(self.paths) <= self.halves else None])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("halves", [0, 2, 3])
def test_a_body_that_breaks_off_is_read_again(halves: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unreliable, "halves", halves)
    monkeypatch.setattr(Unreliable, "paths", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Unreliable)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in (("ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}"), ("ACCESS_KEY_ID", "a")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    storage, entries = S3Storage("s3://bucket/x"), [Entry("1", 10, "x/1")]
    try:
        if halves < 3:
            assert list(storage.read(entries)) == [Unreliable.BODY]
        else:
            with pytest.raises(StorageError, match="s3://bucket/x/1: broke off while reading, 3 times; check the network"):
                list(storage.read(entries))
    finally:
        server.shutdown()
        server.server_close()
    tries = min(halves + 1, 3)
    assert Unreliable.paths == ["/bucket/x/1"] * tries, "the bucket is in the path: few stores resolve bucket.host"


def test_an_empty_prefix(s3: Any, tmp_path: Path, data_settings: Make) -> None:
    with pytest.raises(Exception, match=r"data\.path 's3://.*/nothing' holds no files"):
        pack(data_settings(source="s3", path=f"s3://{s3.bucket}/nothing"), tmp_path / "packed", progress=False)
    assert not list(tmp_path.iterdir())


def test_a_local_folder_has_the_same_interface(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a").write_bytes(b"content")
    storage = LocalStorage(tmp_path)
    (entry,) = storage.entries()
    assert (entry.name, entry.size, list(storage.read([entry]))) == ("x/a", 7, [b"content"])
    with pytest.raises(StorageError, match=r"y/: cannot be read \(No such file"):
        list(LocalStorage(tmp_path / "y").entries())
