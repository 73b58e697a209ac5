"""A container engine, the images built in it, and the services that their steps talk to."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from small import ROOT, unavailable

UID = os.getuid() or 12345  # not root, and no entry in the images' /etc/passwd
PASSED_ON = ("OMP_NUM_THREADS", "ATELIER_PIPELINE_RUN")


def run(*command: str | Path, env: Mapping[str, str] | None = None, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Runs a program in the repository, with more in its environment, and returns what it said."""
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=ROOT, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=timeout)


def exported(text: str) -> dict[str, str]:
    """What lines such as `export NAME=value` export."""
    return dict(re.findall(r"^export (\w+)=(\S+)$", text, re.MULTILINE))


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine that answers; it is left running, since the images in it are what takes time."""
    done = run("docker/engine.sh", "start")
    if done.returncode:
        unavailable(f"docker/engine.sh finds and starts no Docker: {done.stderr[-500:]}")
    os.environ.update(exported(done.stdout))


@dataclass(frozen=True)
class Image:
    """A built image; `run` runs a command in it as a cluster would that trusts nobody."""

    tag: str
    id: str

    def run(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        folders: Sequence[Path] = (),
        user: str = f"{UID}:0",
        timeout: float = 600,
    ) -> subprocess.CompletedProcess[str]:
        """Read-only root, an unknown user of group 0, on the machine's network, with `folders` at their own paths."""
        words = ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--user", user, "--network", "host"]
        variables = {**{name: os.environ[name] for name in PASSED_ON if name in os.environ}, **(env or {})}
        for name in variables:
            words += ["--env", name]
        for folder in folders:
            words += ["--volume", f"{folder}:{folder}"]
        return run(*words, self.id, *command, env=variables, timeout=timeout)


@pytest.fixture(scope="session")
def images(engine: None) -> dict[str, Image]:
    """The images of `make images` by name."""
    built = run("make", "-s", "images", timeout=3600)
    if "cannot be pulled" in built.stderr and "base image: needs root" in built.stderr:
        unavailable(f"the base image can neither be pulled nor made: {built.stderr[-500:]}")
    assert built.returncode == 0, built.stderr[-3000:]
    print(built.stdout)
    found = {}
    for line in built.stdout.splitlines():
        tag, identity, *_ = line.split()
        found[re.split("[-:]", tag)[1]] = Image(tag, identity)
    return found


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
    """Runs docker/services with these settings."""
    return run(sys.executable, "docker/services", action, env=settings)


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
