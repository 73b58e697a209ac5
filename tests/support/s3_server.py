"""An S3 server of the tests' own, which can hang, or be killed and started again."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError

START_SECONDS = 120.0


def until(true: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    """Waits until something is true; fails when it does not become so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


class Store:
    """A running S3 server, and a bucket on it. `environment` is what its clients have in theirs."""

    bucket = "preempted"

    def __init__(self, tool: Path, home: Path) -> None:
        self.home = home
        self._tool, self._port = tool, str(_free_ports())
        self._start()

    def _start(self) -> None:
        environment = {**os.environ, "S3_HOME": str(self.home), "S3_PORT": self._port, "S3_KEEP": "1"}
        started = subprocess.run(
            ["bash", str(self._tool), "start"], env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=300
        )
        self.pid = int((self.home / "pid").read_text())
        self.environment = dict(part.split("=", 1) for part in started.stdout.split() if "=" in part)
        until(self._ready)

    def kill(self) -> None:
        """Ends the server at once; what it has stored stays."""
        os.killpg(self.pid, signal.SIGKILL)  # it leads its own group
        (self.home / "pid").unlink(missing_ok=True)

    @property
    def client(self) -> Any:
        """A boto3 client."""
        keys = {name: self.environment[f"AWS_{name.upper()}"] for name in ("access_key_id", "secret_access_key")}
        return boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL_S3"],
            region_name="us-east-1",
            config=Config(connect_timeout=5, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 5}),
            **{f"aws_{name}": value for name, value in keys.items()},
        )

    def _ready(self) -> bool:
        """Whether it takes requests; a server that has just started may let the first ones hang."""
        client = self.client
        with contextlib.suppress(BotoCoreError, client.exceptions.ClientError):
            with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket=self.bucket)
            client.put_object(Bucket=self.bucket, Key="ready", Body=b"ready")
            return True
        return False

    def prefix(self) -> str:
        """A prefix that nobody else has."""
        return f"s3://{self.bucket}/{uuid.uuid4().hex}"

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Requests of the block get no answer."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def killed(self) -> Iterator[None]:
        """Requests of the block are refused: there is no server."""
        self.kill()
        try:
            yield
        finally:
            self._start()

    def keys(self, prefix: str) -> list[str]:
        """Keys of all objects under a prefix."""
        found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix.removeprefix(f"s3://{self.bucket}/"))
        return [item["Key"] for item in found.get("Contents", ())]

    def steps(self, prefix: str) -> list[int]:
        """Steps of the saves that have their index."""
        return sorted(int(found[1]) for key in self.keys(prefix) if (found := re.search(r"/saves/(\d+)\.json$", key)))

    def wait_for(self, prefix: str, step: int) -> None:
        """Until a save of this step or a later one is there."""
        until(lambda: max(self.steps(prefix), default=-1) >= step)

    def copy(self, prefix: str) -> str:
        """The same objects under another prefix."""
        other, cut = self.prefix(), len(prefix.removeprefix(f"s3://{self.bucket}/"))
        for key in self.keys(prefix):
            name = other.removeprefix(f"s3://{self.bucket}/") + key[cut:]
            self.client.copy_object(Bucket=self.bucket, Key=name, CopySource={"Bucket": self.bucket, "Key": key})
        return other


def _free_ports() -> int:
    """A port below those that the system hands out, whose neighbors that the server takes as well are free."""
    for port in random.sample(range(12000, 18000, 7), 50):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for one in (port, *(port + 1000 + n + grpc for n in range(3) for grpc in (0, 10000)), port + 10000):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", one))
            return port
    raise AssertionError("no free ports")


@pytest.fixture(scope="session")
def store(asset: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The server, run from this environment where that has it; else the tool installs it."""
    tool, home = asset("tools/s3-server.sh"), tmp_path_factory.mktemp("s3")
    if (Path(sys.prefix) / "bin" / "weed").exists():
        (home / "venv").symlink_to(sys.prefix)
    made = Store(tool, home)
    try:
        yield made
    finally:
        made.kill()
        shutil.rmtree(home, ignore_errors=True)
