"""Weights files: read from a path, from S3 or from where they are published. atelier.extractors.tensors says what is in them.

What is fetched is kept in the user's cache, XDG_CACHE_HOME/atelier (~/.cache/atelier), and its sha256 is checked whenever it is
read from there.
"""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from atelier.extractors.errors import ExtractorError
from atelier.io.files import atomic_write
from atelier.io.progress import BYTES, bar
from atelier.io.storage import Entry, S3Storage, StorageAway, StorageError

FETCH_TIMEOUT_S = 60
SETTING = "evaluate.weights (--weights)"


@dataclass(frozen=True)
class Weights:
    """A weights file in memory: the path or URI it came from, its bytes, their sha256."""

    origin: str
    content: bytes
    sha256: str


def read(source: str, setting: str = SETTING) -> Weights:
    """The file at a path or an `s3://bucket/key`; `setting` is what messages call the place where it was chosen.

    Raises ExtractorError, and StorageAway where the store cannot be reached.
    """
    content = _from_s3(source, setting) if source.startswith("s3://") else _from_file(Path(source), setting)
    return Weights(source, content, _sha256(content))


def read_published(url: str, sha256: str, setting: str = SETTING, otherwise: str = "") -> Weights:
    """The file at `url`, fetched into the user's cache on first use. Raises ExtractorError: no network, or another hash.

    `otherwise` is a way to do without it, for messages, where no path can be set.
    """
    path = _caches() / url.rpartition("/")[2]
    if not path.exists():
        content = _fetched(url, path, sha256, setting, otherwise or f"set {setting} to its path or its s3:// URI")
        atomic_write(path, _checked(content, sha256, url))
    return Weights(str(path), _checked(_from_file(path, setting), sha256, str(path)), sha256)


def read_kept(name: str, sha256: str, remedy: str) -> Weights:
    """A file of the user's cache that a command of ours has put there; `remedy` says which. Raises ExtractorError."""
    path = kept_at(name)
    if not path.exists():
        raise ExtractorError(f"{path}: does not exist; {remedy}")
    return Weights(str(path), _checked(_from_file(path, SETTING), sha256, str(path)), sha256)


def keep(name: str, content: bytes, sha256: str) -> None:
    """Puts a file into the user's cache. Raises ExtractorError for a content of another hash, and WriteError."""
    atomic_write(kept_at(name), _checked(content, sha256, name))


def kept_at(name: str) -> Path:
    """Where the user's cache has a file of this name."""
    return _caches() / name


def _from_file(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ExtractorError(f"{path}: weights cannot be read ({error.strerror}); correct {setting}") from error


def _fetched(url: str, path: Path, sha256: str, setting: str, otherwise: str) -> bytes:
    content = bytearray()
    try:
        with (
            urllib.request.urlopen(url, timeout=FETCH_TIMEOUT_S) as response,
            bar(f"fetching {path.name}", response.length, unit=BYTES) as shown,
        ):
            while part := response.read(1 << 20):
                content += part
                shown.update(len(part))
    except OSError as error:
        raise ExtractorError(
            f"{setting}: published: {path} does not exist and {url} cannot be reached ({error}); fetch it where there is a "
            f"network (sha256 {sha256}) and put it there, or {otherwise}"
        ) from error
    return bytes(content)


def _from_s3(uri: str, setting: str) -> bytes:
    """The object's content: from the cache as long as the store names the version that is kept there, else fetched and kept."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket or not key or key.endswith("/"):
        raise ExtractorError(f"{uri}: names no object; set {setting} to s3://bucket/path/of/the/file")
    storage = S3Storage(f"s3://{bucket}")
    version = _version(storage, key)
    kept = _kept(version) if version else None
    if kept is not None:
        return kept
    try:
        (content,) = storage.read([Entry(key, 0, key)])
    except StorageAway:
        raise
    except StorageError as error:
        raise ExtractorError(f"{error}; or correct {setting}") from error
    assert isinstance(content, bytes)
    if version and version == _version(storage, key):  # not replaced meanwhile
        atomic_write(_caches() / "s3" / f"{version}-{_sha256(content)}", content)
    return content


def _version(storage: S3Storage, key: str) -> str | None:
    """A name for what the store holds under `key` now; None where it does not say, and reading will tell why."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = storage.client.head_object(Bucket=storage.bucket, Key=key)
    except (BotoCoreError, ClientError):
        return None
    return _sha256(f"{storage.bucket}/{key} {answer['ETag']}".encode())[:32]


def _kept(version: str) -> bytes | None:
    for path in (_caches() / "s3").glob(f"{version}-*"):
        content = _from_file(path, SETTING)
        if _sha256(content) == path.name.rpartition("-")[2]:
            return content
        print(f"{path}: is damaged; fetching it again", file=sys.stderr)
    return None


def _caches() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "atelier"


def _checked(content: bytes, sha256: str, origin: str) -> bytes:
    found = _sha256(content)
    if found != sha256:
        raise ExtractorError(f"{origin}: sha256 is {found}, not {sha256} of the published weights; replace it")
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
