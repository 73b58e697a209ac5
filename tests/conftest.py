"""What tests of every layer share: the files under ../shared, a real S3 server, images and data settings."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atelier.config import settings
from atelier.config.data import DataSettings
from tests.support.small import ROOT, unavailable

SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def asset() -> Callable[[str], Path]:
    """`asset(name)`: the path of a file under ../shared, for example `data/emoji-google-64.zip`; skips where it is missing."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            unavailable(f"../shared/{name} is not there")
        return path

    return find


@dataclass(frozen=True)
class S3:
    """An S3 server, reached through the AWS_* variables of the environment, and an empty bucket on it."""

    endpoint: str
    bucket: str

    @property
    def client(self) -> Any:
        import boto3

        return boto3.client("s3")


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """The server that AWS_ENDPOINT_URL_S3 names, else one that ../shared/tools/s3-server.sh starts; skips without either."""
    with contextlib.ExitStack() as stack:
        if not os.environ.get("AWS_ENDPOINT_URL_S3"):
            stack.enter_context(_server())
        store = S3(os.environ["AWS_ENDPOINT_URL_S3"], f"atelier-{uuid.uuid4().hex[:12]}")
        store.client.create_bucket(Bucket=store.bucket)
        yield store
        for page in store.client.get_paginator("list_objects_v2").paginate(Bucket=store.bucket):
            keys = [{"Key": item["Key"]} for item in page.get("Contents", ())]
            if keys:
                store.client.delete_objects(Bucket=store.bucket, Delete={"Objects": keys, "Quiet": True})
        store.client.delete_bucket(Bucket=store.bucket)


@contextlib.contextmanager
def _server() -> Iterator[None]:
    """Runs the tool's server. Test sessions beside each other share it; the last one stops it, if one of them started it."""
    tool = SHARED / "tools" / "s3-server.sh"
    if not tool.exists():
        unavailable("AWS_ENDPOINT_URL_S3 is not set and ../shared/tools/s3-server.sh is not there")
    home = Path(os.environ.get("S3_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s3-server")
    ours = Path(tempfile.gettempdir()) / f"atelier-tests-s3-{os.getuid()}"
    with ours.with_suffix(".lock").open("w") as users:
        with _alone(ours):
            before = _alive(home)
            started = subprocess.run(["bash", str(tool), "start"], capture_output=True, text=True, timeout=300)
            if started.returncode:
                unavailable(f"../shared/tools/s3-server.sh does not start: {started.stderr[-500:]}")
            if before is None:
                ours.touch()
            fcntl.flock(users, fcntl.LOCK_SH)
        pairs = dict(part.split("=", 1) for part in started.stdout.split() if "=" in part)
        kept = {name: os.environ.get(name) for name in pairs}
        os.environ.update(pairs)
        try:
            yield
        finally:
            for name, value in kept.items():
                os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
            with _alone(ours), contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody else uses it
                pid = _alive(home)
                if pid is not None and ours.exists():
                    os.killpg(pid, signal.SIGKILL)  # it leads its own group; its graceful stop takes half a minute
                    (home / "pid").unlink()
                ours.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(ours: Path) -> Iterator[None]:
    """No other session starts or stops the server meanwhile. Held for moments: a session that uses it holds the other lock."""
    with ours.with_suffix(".turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def _alive(home: Path) -> int | None:
    try:
        pid = int((home / "pid").read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid


@pytest.fixture(scope="session")
def data_settings() -> Callable[..., DataSettings]:
    """`data_settings(source=…)`: the data section of params.yaml with some values changed."""
    values = settings.load(ROOT / "params.yaml").data["base"].model_dump()
    return lambda **changes: DataSettings.model_validate({**values, **changes})


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """`encode(image or array, format, …)`: the bytes of an image file."""

    def to_bytes(image: Image.Image | np.ndarray, format: str = "PNG", **options: Any) -> bytes:
        file = io.BytesIO()
        (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, format, **options)
        return file.getvalue()

    return to_bytes


@pytest.fixture(scope="session")
def pictures() -> Callable[..., list[np.ndarray]]:
    """`pictures(n)`: n different color images uint8 [40, 40, 3]."""

    def draw(count: int, seed: int = 0, shape: tuple[int, ...] = (40, 40, 3)) -> list[np.ndarray]:
        return list(np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8))

    return draw


@pytest.fixture
def many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sets are packed by several processes too, in chunks of a few images."""
    monkeypatch.setattr("atelier.data.work.ALONE_SECONDS", 0.0)
    monkeypatch.setattr("atelier.data.work.WORTH_SECONDS", 0.0)
    monkeypatch.setattr("atelier.data.work.CHUNK_IMAGES", 4)
