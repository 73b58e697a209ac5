"""Real MLflow servers, on SQLite and on PostgreSQL with S3, that can be killed; and a proxy that can refuse and break off."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from atelier.registry import ledger
from atelier.tracking import runs
from tests.support.small import free_port
from tests.support.team_services import Services

START_SECONDS = 120
READS = ("/search", "/get-by-name")  # what is asked with POST and changes nothing


class SqliteServer:
    """`mlflow server` on a SQLite file, which hands artifacts through to a folder."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self.uri, self.environment = f"http://127.0.0.1:{self.port}", dict[str, str]()
        self.start()

    def start(self) -> None:
        """Starts it and waits until it answers."""
        program = str(Path(sys.executable).with_name("mlflow"))
        command = [program, "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        command += [
            "--backend-store-uri",
            f"sqlite:///{self.home}/mlflow.db",
            "--artifacts-destination",
            str(self.home / "artifacts"),
        ]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        with (self.home / "log").open("a") as log:
            self.process = subprocess.Popen(
                command, env=environment, cwd=self.home, stdout=log, stderr=log, start_new_session=True
            )
        until_it_answers(self.uri)

    def kill(self) -> None:
        """Ends it at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class TeamServer:
    """The MLflow server of services: runs in PostgreSQL, artifacts handed through into S3."""

    def __init__(self, team: Services) -> None:
        self.team = team
        self.environment = dict(team.client)
        self.uri = self.environment.pop("MLFLOW_TRACKING_URI")

    def start(self) -> None:
        """Starts it again and waits until it answers."""
        assert self.team.call("start").returncode == 0
        until_it_answers(self.uri)

    def kill(self) -> None:
        """Ends MLflow at once; PostgreSQL and S3 stay."""
        pid, _ = json.loads((self.team.home / "mlflow.pid").read_text())
        os.killpg(pid, signal.SIGKILL)


Server = SqliteServer | TeamServer


@pytest.fixture(scope="session")
def sqlite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteServer]:
    made = SqliteServer(tmp_path_factory.mktemp("server"))
    yield made
    made.kill()


@pytest.fixture(params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server that answers and is the one of the environment; no waiting for what tests need not wait for."""
    found: Server = (
        request.getfixturevalue("sqlite_server") if request.param == "sqlite" else TeamServer(request.getfixturevalue("services"))
    )
    for name in ("MLFLOW_RUN_ID", "ATELIER_PIPELINE_RUN", "ATELIER_IMAGE", "DVC_EXP_NAME", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", found.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setattr(runs, "SETTLE_SECONDS", 0.2)
    monkeypatch.setattr(ledger, "POLL_SECONDS", (0.02, 0.2))
    return found


def until_it_answers(uri: str) -> None:
    """Waits for the server at an address."""
    end = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{uri}/health", timeout=5):
            return
        assert time.monotonic() < end, "it does not answer"
        time.sleep(0.1)


class Proxy:
    """Hands requests on to a server. `before` and `after` see each one that changes something, with its number from 1.

    `before` answers with a status to refuse it with, or None; either may raise BrokenPipeError to break off the connection.
    """

    def __init__(self, to: str) -> None:
        self.to, self.writes = to, 0
        self.before: Callable[[int, str], int | None] = lambda number, path: None
        self.after: Callable[[int, str], None] = lambda number, path: None
        self.everything = False  # whether reads are asked about, too
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                """Says nothing."""

            def handle_one_request(self) -> None:
                with contextlib.suppress(BrokenPipeError, ConnectionError):
                    super().handle_one_request()
                    return
                self.close_connection = True

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = self.command != "GET" and not self.path.endswith(READS)
                if asked or proxy.everything:
                    proxy.writes += 1
                    if status := proxy.before(proxy.writes, self.path):
                        self.send_response(status)
                        self.send_header("Content-Length", "2")
                        self.end_headers()
                        self.wfile.write(b"no")
                        return
                status, headers, content = self._forward(body)
                if asked:
                    proxy.after(proxy.writes, self.path)
                self.send_response(status)
                self.send_header("Content-Type", headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def _forward(self, body: bytes) -> tuple[int, Any, bytes]:
                kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
                request = urllib.request.Request(proxy.to + self.path, body or None, kept, method=self.command)
                try:
                    with urllib.request.urlopen(request, timeout=60) as answer:
                        return answer.status, answer.headers, answer.read()
                except urllib.error.HTTPError as error:
                    return error.code, error.headers, error.read()
                except OSError as error:
                    raise BrokenPipeError from error

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stops it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def proxy(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy of the server, which the environment does not name yet."""
    made = Proxy(server.uri)
    yield made
    made.close()
