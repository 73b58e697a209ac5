"""The driver as processes that need not import PyTorch again: forks of a server that has, which itself computes nothing."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.reduction import DupFd
from pathlib import Path
from types import MappingProxyType
from typing import Any

NOTHING: Mapping[str, str] = MappingProxyType({})
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["atelier.training.run", "atelier.config.settings"])


class Driver:
    """driver.command(data, output, states, *overrides) in a process of its own; `environment` adds to that of the test."""

    def __init__(self, data: Path, output: Path, states: Path, *overrides: str, environment: Mapping[str, str] = NOTHING) -> None:
        reading, writing = os.pipe()
        self.stdout = os.fdopen(reading)
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `finish` closes it
        files = DupFd(writing), DupFd(self._stderr.fileno())
        arguments = [str(data), str(output), str(states), *overrides]
        self._process = _SERVER.Process(target=_drive, args=(files, {"OMP_NUM_THREADS": "1", **environment}, arguments))
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
            assert self._process.exitcode is not None, "the driver does not end"
            return self._process.exitcode, out, self._stderr.read()


def _drive(files: tuple[Any, Any], environment: dict[str, str], arguments: list[str]) -> None:
    for number, file in enumerate(files, start=1):
        os.dup2(file.detach(), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.environ.update(environment)
    faulthandler.enable()
    from tests.support import driver

    driver.command(*arguments)
