"""Programs as processes that need not import PyTorch again: forks of a server that has, which itself computes nothing."""

from __future__ import annotations

import faulthandler
import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from multiprocessing.reduction import DupFd
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.support.small import free_port

NOTHING: Mapping[str, str] = MappingProxyType({})
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["boto3", "tests.support.driver", "tests.support.forked"])


class Forked:
    """tests.support.PROGRAM.command(*arguments) in a process of its own; `environment` adds to that of the test."""

    def __init__(self, program: str, *arguments: str, environment: Mapping[str, str] = NOTHING) -> None:
        reading, writing = os.pipe()
        self.stdout = os.fdopen(reading)
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `finish` closes it
        files = DupFd(writing), DupFd(self._stderr.fileno())
        self._process = _SERVER.Process(target=_run, args=(files, {"OMP_NUM_THREADS": "1", **environment}, program, arguments))
        self._process.start()
        os.close(writing)

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    def tell(self, sign: signal.Signals) -> None:
        """Sends it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, sign)

    def finish(self) -> tuple[int, str, str]:
        """Waits for its end: exit code, the rest of stdout, stderr."""
        with self.stdout, self._stderr:
            out = self.stdout.read()
            self._process.join(120)
            self._stderr.seek(0)
            assert self._process.exitcode is not None, "it does not end"
            return self._process.exitcode, out, self._stderr.read()


class Driver(Forked):
    """driver.command(data, output, states, *overrides)."""

    def __init__(self, data: Path, output: Path, states: Path, *overrides: str, environment: Mapping[str, str] = NOTHING) -> None:
        super().__init__("driver", str(data), str(output), str(states), *overrides, environment=environment)


def together(local_rank: str | None = None) -> list[dict[str, str]]:
    """The environments of two ranks of a group, on one node, or, where each is the first on its own, on two."""
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [group | {"RANK": rank, "LOCAL_RANK": local_rank or rank} for rank in ("0", "1")]


def two_ranks(start: Callable[[Mapping[str, str]], Forked]) -> list[tuple[int, str, str]]:
    """How both ranks of a group end (exit code, stdout, stderr), each of which `start` begins in the environment it is given."""
    ranks = [start(environment) for environment in together()]
    return [rank.finish() for rank in ranks]


def _run(files: tuple[Any, Any], environment: dict[str, str], program: str, arguments: tuple[str, ...]) -> None:
    for number, file in enumerate(files, start=1):
        os.dup2(file.detach(), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.environ.update(environment)
    faulthandler.enable()
    importlib.import_module(f"tests.support.{program}").command(*arguments)
