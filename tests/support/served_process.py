"""The real server as a process, and small generators in a real MLflow for it."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from atelier.registry.register import register
from atelier.tracking.step_run import step_run

CLASSES = ["zero", "one", "<b>&"]
STARTS = 120.0  # seconds that a process may need to begin, on a busy machine


def register_versions(name: str, checkpoints: list[Path]) -> None:
    """Versions 1, 2, ... of a name, without an alias."""
    with step_run("register", "serving tests", {}, required=True) as run:
        for checkpoint in checkpoints:
            register(run, name, checkpoint, [], "A card.")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"])


@dataclass
class Server:
    """A running server: requests to it, what it logged, and its end."""

    process: subprocess.Popen[bytes]
    port: int
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8")

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def post(self, body: Any, accept: str = "") -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", "/generate", data, {"Accept": accept} if accept else {})

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def ready(self) -> dict[str, Any]:
        return self.get("/ready").json

    def serves(self, uri: str) -> bool:
        return self.ready().get("model") == uri

    def metric(self, line: str) -> float:
        """Value of a series, written with its labels; 0 while it is not there."""
        for given in self.get("/metrics").body.decode().splitlines():
            if given.startswith(f"{line} "):
                return float(given.rsplit(" ", 1)[1])
        return 0.0


@contextlib.contextmanager
def serving(folder: Path, uri: str, *options: str, tracking: str | None = None) -> Iterator[Server]:
    """`python -m atelier.serving URI` on a free port, looking at the registry five times a second; logs into `folder`."""
    log_file = folder / "serving.log"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"MLFLOW_TRACKING_URI": tracking} if tracking else {})}
    command = [sys.executable, "-m", "atelier.serving", uri, "--port", "0", "--poll", "0.2", *options]
    with log_file.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process:
        try:
            wait(lambda: process.poll() is not None or b"/ serves " in log_file.read_bytes())
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", log_file.read_text(encoding="utf-8"))
            assert found, log_file.read_text(encoding="utf-8")
            yield Server(process, int(found[1]), log_file)
        finally:
            process.kill()


def wait(condition: Callable[[], Any], seconds: float = STARTS) -> None:
    """Until something is so; fails after that time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def about(file: bytes) -> dict[str, Any]:
    """What a PNG says of itself."""
    with Image.open(io.BytesIO(file)) as picture:
        return json.loads(picture.info["atelier"])


def pixels(file: bytes) -> np.ndarray:
    """The values of a PNG, [H, W] or [H, W, C]."""
    with Image.open(io.BytesIO(file)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture).astype(int)
