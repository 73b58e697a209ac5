"""A container engine, and the images built in it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.small import unavailable
from tests.support.team_services import exported, run

UID = os.getuid() or 12345  # not root, and no entry in the images' /etc/passwd
PASSED_ON = ("OMP_NUM_THREADS", "ATELIER_PIPELINE_RUN")


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
