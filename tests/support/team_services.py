"""The services of a team on this machine without Docker (services/), started for the tests and stopped again."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.small import ROOT, unavailable


def run(*command: str | Path, env: Mapping[str, str] | None = None, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Runs a program in the repository, with more in its environment, and returns what it said."""
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=ROOT, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=timeout)


def exported(text: str) -> dict[str, str]:
    """What lines such as `export NAME=value` export."""
    return dict(re.findall(r"^export (\w+)=(\S+)$", text, re.MULTILINE))


def free_ports(count: int) -> int:
    """The first of `count` free ports in a row, below those that outgoing connections take."""
    for first in range(20000, 32000, count):
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for number in range(first, first + count):
                held.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return first
    raise RuntimeError("no ports are free")


@dataclass(frozen=True)
class Services:
    """`make services` with `settings` of their own; `client` is what a client exports."""

    settings: dict[str, str]
    client: dict[str, str]

    @property
    def home(self) -> Path:
        """Where all of it is kept."""
        return Path(self.settings["SERVICES_HOME"])

    def call(self, action: str) -> subprocess.CompletedProcess[str]:
        """start, stop or status."""
        return services_call(action, self.settings)


def services_call(action: str, settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs services/ with these settings."""
    return run(sys.executable, "services", action, env=settings)


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    """S3 store, PostgreSQL and MLflow, started on free ports and stopped at the end."""
    home = Path(tempfile.mkdtemp(prefix="atelier-services-", dir="/tmp"))  # short, and open to the user postgres
    first = free_ports(10)
    settings = {"SERVICES_HOME": str(home), "S3_PORT": str(first)}
    settings |= {"POSTGRES_PORT": str(first + 8), "MLFLOW_PORT": str(first + 9)}
    started = services_call("start", settings)
    try:
        if "not installed" in started.stderr:
            unavailable(started.stderr.strip())
        assert started.returncode == 0, started.stderr
        yield Services(settings, exported(started.stdout))
    finally:
        services_call("stop", settings)
        shutil.rmtree(home)
