"""Local folders and S3 prefixes behind one interface: list what is there, read it. S3 can be written too.

S3 goes through boto3 and takes its endpoint, credentials and region from the environment (AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, or a profile); none of them is kept in an object of this module, written or logged.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from atelier.errors import AtelierError

S3_CONNECTIONS = 8
S3_FOLDERS = 100  # of a prefix that are listed each by itself; more may be folders of an object or two
S3_REMOVED_AT_ONCE = 1000  # S3 allows no more in a call
S3_PUT_BYTES = 1 << 30  # up to here an object goes up in one piece: a killed writer leaves no parts that nobody sees but the bill
S3_TRIES = 3  # of a body that breaks off; botocore itself repeats only what fails before the first byte
LEFT_BY_SYSTEMS = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini"}
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class StorageError(AtelierError):
    """A folder, a bucket or an object cannot be read or written; the message names it and the remedy."""


class StorageAway(StorageError):
    """The store cannot be reached, or answers with a fault of its own: the same request may succeed later."""


@dataclass(frozen=True, slots=True)  # there are as many as files
class Entry:
    """One stored object: its name below the root ("/" between parts), its size in bytes, what its storage needs to read it.

    The name fits into JSON and into a line: what does not is written as escapes.
    """

    name: str
    size: int
    handle: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _printable(self.name))


@dataclass(frozen=True)
class Damaged:
    """Stands for the content of an entry that its storage knows to be broken; the reason is the same on every machine."""

    reason: str


def _printable(name: str) -> str:
    known = os.fsencode(name).decode("utf-8", "backslashreplace")
    shown = CONTROL.sub(lambda found: ascii(found[0])[1:-1], known)
    return name if shown == name else shown  # mostly the same text, which need not be there twice


def hidden(name: str) -> bool:
    """Whether a part of the name begins with a dot, or is what macOS and Windows put beside people's files."""
    return any(part.startswith(".") or part.lower() in LEFT_BY_SYSTEMS for part in name.split("/"))


class Storage(ABC):
    """A tree of named objects. It can be pickled, so that other processes read the same tree."""

    @abstractmethod
    def entries(self) -> Iterator[Entry]:
        """Every object below the root, in no particular order. Raises StorageError."""

    @abstractmethod
    def read(self, entries: Sequence[Entry]) -> Iterator[bytes | Damaged]:
        """The content of each entry, in the given order. Raises StorageError where a new try or another setting can help."""


class LocalStorage(Storage):
    """A folder without what is hidden in it.

    Links are followed (DVC may put links there); one that leads to nothing, or back to its own parent, is an error.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def entries(self) -> Iterator[Entry]:
        return self._walk("", ())

    def _walk(self, below: str, parents: tuple[tuple[int, int], ...]) -> Iterator[Entry]:
        folder = os.path.join(self.root, below)  # noqa: PTH118 (os.scandir and plain strings are several times faster)
        try:
            status = os.stat(folder)  # noqa: PTH116
            identity = (status.st_dev, status.st_ino)
            if identity in parents:
                raise StorageError(f"{_printable(folder)}: a link that leads back to a folder above it; remove it")
            with os.scandir(folder) as found:
                for item in found:
                    if hidden(item.name):
                        continue
                    name = f"{below}/{item.name}" if below else item.name
                    if item.is_dir():
                        yield from self._walk(name, (*parents, identity))
                    elif item.is_file():
                        yield Entry(name, item.stat().st_size, name)
                    elif item.is_symlink():
                        raise StorageError(
                            f"{_printable(item.path)}: a link to nothing; remove it or bring its target back (`dvc checkout`)"
                        )
        except OSError as error:
            raise StorageError(
                f"{_printable(folder)}: cannot be read ({error.strerror}); check the path and its permissions"
            ) from error

    def read(self, entries: Sequence[Entry]) -> Iterator[bytes]:
        for entry in entries:
            path = self.root / entry.handle
            try:
                yield path.read_bytes()
            except OSError as error:
                raise StorageError(
                    f"{self.root / entry.name}: cannot be read ({error.strerror}); check the file and its permissions"
                ) from error


class S3Storage(Storage):
    """Every object under an `s3://bucket/prefix`. Objects are read over several connections at a time.

    With `timeout` (seconds) a request is tried once and may hang no longer than this; without it the usual patience of boto3
    applies. Every method raises StorageError, and StorageAway where a later try can help.
    """

    def __init__(self, uri: str, timeout: float | None = None) -> None:
        self.timeout = timeout
        self.bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if not uri.startswith("s3://") or not self.bucket:
            raise StorageError(f"{uri}: not an S3 prefix; write s3://bucket/prefix")
        self.prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._client: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None}

    def entries(self) -> Iterator[Entry]:
        """Every object below the prefix. S3 lists a thousand keys a page, in turn; folders are listed side by side."""
        with _Explained(self.bucket, self.prefix):
            first = self.client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix)
            if not first.get("IsTruncated"):
                yield from self._entries(first)
                return
            above = self.client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, Delimiter="/")
            folders = [folder["Prefix"] for folder in above.get("CommonPrefixes", ())]
            if above.get("IsTruncated") or len(folders) > S3_FOLDERS:
                yield from self._listed(self.prefix)
                return
            yield from self._entries(above)
            with ThreadPoolExecutor(S3_CONNECTIONS) as threads:
                for found in threads.map(lambda folder: list(self._listed(folder)), folders):
                    yield from found

    def _listed(self, prefix: str) -> Iterator[Entry]:
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            yield from self._entries(page)

    def _entries(self, page: dict[str, Any]) -> Iterator[Entry]:
        for item in page.get("Contents", ()):
            if not item["Key"].endswith("/"):  # consoles store empty objects to show folders
                yield Entry(item["Key"].removeprefix(self.prefix), item["Size"], item["Key"])

    def read(self, entries: Sequence[Entry]) -> Iterator[bytes]:
        client = self.client
        with ThreadPoolExecutor(S3_CONNECTIONS) as threads:
            yield from threads.map(lambda entry: self._read(client, entry), entries)

    def _read(self, client: Any, entry: Entry) -> bytes:
        from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

        tries = 0
        while True:
            with _Explained(self.bucket, entry.handle):
                body = client.get_object(Bucket=self.bucket, Key=entry.handle)["Body"]
            try:
                return body.read()
            except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError) as error:
                tries += 1
                if tries == S3_TRIES:
                    raise StorageAway(
                        f"s3://{self.bucket}/{entry.handle}: broke off while reading, {tries} times; check the network, run again"
                    ) from error

    def download(self, entry: Entry, path: Path) -> None:
        """Writes the content of an entry to a file, in the thread that calls."""
        from boto3.s3.transfer import TransferConfig

        with _Explained(self.bucket, entry.handle):
            self.client.download_file(self.bucket, entry.handle, str(path), Config=TransferConfig(use_threads=False))

    def put(self, name: str, content: IO[bytes]) -> None:
        """Stores the rest of a file under a name below the prefix, in the thread that calls: no other one outlives it.

        An object is there whole or not at all. What reading `content` raises ends the upload and is passed on as StorageAway.
        """
        from boto3.s3.transfer import TransferConfig

        config = TransferConfig(multipart_threshold=S3_PUT_BYTES, multipart_chunksize=S3_PUT_BYTES // 8, use_threads=False)
        with _Explained(self.bucket, self.prefix + name):
            self.client.upload_fileobj(content, self.bucket, self.prefix + name, Config=config)

    def remove(self, names: Sequence[str]) -> None:
        """Removes objects by their names below the prefix; one that is not there is no error."""
        from botocore.exceptions import ClientError

        for first in range(0, len(names), S3_REMOVED_AT_ONCE):
            keys = [{"Key": self.prefix + name} for name in names[first : first + S3_REMOVED_AT_ONCE]]
            with _Explained(self.bucket, keys[0]["Key"]):
                answer = self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": keys, "Quiet": True})
                if answer.get("Errors"):
                    raise ClientError({"Error": answer["Errors"][0]}, "DeleteObjects")

    @property
    def client(self) -> Any:
        """The boto3 client of this process, made at its first use."""
        if self._client is None:
            import boto3
            from botocore.config import Config

            config = Config(
                connect_timeout=self.timeout or 10,
                read_timeout=self.timeout or 60,
                retries={"mode": "standard"} if self.timeout is None else {"mode": "standard", "total_max_attempts": 1},
                max_pool_connections=S3_CONNECTIONS,
            )
            with _Explained(self.bucket, self.prefix):
                self._client = boto3.Session().client("s3", config=config)
        return self._client


class _Explained:
    """Turns botocore's errors into one StorageError that names bucket, object and remedy, and holds no credential."""

    REFUSED = (
        "AccessDenied",
        "403",
        "Forbidden",
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
        "ExpiredToken",
        "InvalidToken",
    )

    def __init__(self, bucket: str, key: str) -> None:
        self.where = f"s3://{bucket}/{key}"
        self.bucket = bucket

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or not isinstance(error, Exception):
            return
        from boto3.exceptions import RetriesExceededError
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            ConnectionError,
            HTTPClientError,
            NoCredentialsError,
            PartialCredentialsError,
        )

        kind: type[StorageError] = StorageError
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "Amazon S3"
        if isinstance(error, ClientError):
            code = error.response.get("Error", {}).get("Code", "unknown")
            if code == "NoSuchBucket":
                remedy = f"no bucket {self.bucket!r} at {endpoint}; check the name and AWS_ENDPOINT_URL_S3"
            elif code in self.REFUSED:
                remedy = (
                    f"{endpoint} refuses access ({code}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy"
                )
            elif code in ("NoSuchKey", "404"):
                remedy = "the object is gone; run again once nobody changes the prefix"
            else:
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                kind = StorageAway if status >= 500 or status == 429 else StorageError
                remedy = f"{endpoint} answers {code}; run again, and if it stays ask whoever keeps the store"
        elif isinstance(error, NoCredentialsError | PartialCredentialsError):
            remedy = "no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        elif isinstance(error, ConnectionError | HTTPClientError | RetriesExceededError):
            kind = StorageAway
            remedy = f"{endpoint} cannot be reached ({type(error).__name__}); check AWS_ENDPOINT_URL_S3 and the network"
        elif isinstance(error, BotoCoreError | ValueError):
            remedy = f"boto3 cannot use these settings ({error}); check the AWS_* variables"
        else:
            return
        raise kind(f"{self.where}: {remedy}") from error
