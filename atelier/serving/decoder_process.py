"""One process of atelier.serving.decoder: its start without secrets, a question and its answer, and its end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import atelier
from atelier.errors import AtelierError
from atelier.provenance.reading import MOST_PIXELS
from atelier.serving.decoder import EXHAUSTED, LOADED

log = logging.getLogger("atelier.serving")

SECONDS = 10.0  # for a file, on a busy machine, too
MEMORY = 2**30  # bytes of addresses, of which the libraries take a third
START_SECONDS = 60.0
MOST_TOLD, MOST_FOUND = 2**26, 4 * MOST_PIXELS  # bytes of an answer
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")  # of the environment, which may hold secrets


class StartError(AtelierError):
    """The process that decodes uploads does not start."""


class UndecodableError(AtelierError):
    """A file cannot be decoded; the text says why. `reason` is the refusal's label in the metrics."""

    def __init__(self, message: str, reason: str = "input") -> None:
        super().__init__(message)
        self.reason = reason


class DecoderProcess:
    """A process that decodes a file within so many seconds, and bytes of addresses. Raises StartError."""

    def __init__(self, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self._seconds, self._memory = seconds, memory
        self._connection, theirs = Pipe()
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        paths = [str(Path(atelier.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "atelier.serving.decoder", str(theirs.fileno()), str(seconds), str(memory)]
        none = subprocess.DEVNULL
        try:
            with theirs:
                self._process = subprocess.Popen(
                    command, env=environment, pass_fds=[theirs.fileno()], stdin=none, stdout=none, stderr=none
                )
            self._end = weakref.finalize(self, _end, self._process, self._connection)
            with self._killed_after(START_SECONDS):
                self._connection.recv_bytes()
        except (EOFError, OSError) as error:
            log.error("the process that decodes uploads does not start (%s): %s", error or "it ends", " ".join(command))
            raise StartError("the process that decodes uploads does not start; run what the log says to see why") from error

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None and self._end.alive

    def answer(self, question: Mapping[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        """What it says of a file. Raises UndecodableError where it had to be killed, or died of the file."""
        overdue = threading.Event()
        try:
            self._connection.send_bytes(json.dumps(question).encode())
            if question["do"] in LOADED:
                with self._killed_after(START_SECONDS):  # since loading, on a busy machine, is not the file's doing
                    self._connection.recv_bytes()
            with self._killed_after(self._seconds, overdue):
                self._connection.send_bytes(content)
                return json.loads(self._connection.recv_bytes(MOST_TOLD)), self._connection.recv_bytes(MOST_FOUND)
        except (EOFError, OSError) as error:
            code = self._ended()
            reason = "its decoder died of it"
            if overdue.is_set() or code == -signal.SIGXCPU:
                reason = f"it takes more than {self._seconds:g} s to decode"
            elif code == EXHAUSTED:
                reason = f"it takes more than {self._memory / 2**20:.0f} MiB to decode"
            log.warning("an upload of %d bytes ended its decoder (exit code %s): %s", len(content), code, reason)
            raise UndecodableError(f"{reason}, so save it again as a smaller file", "decoder") from error

    @contextlib.contextmanager
    def _killed_after(self, seconds: float, overdue: threading.Event | None = None) -> Iterator[None]:
        def kill() -> None:
            if overdue:
                overdue.set()
            self._process.kill()

        timer = threading.Timer(seconds, kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _ended(self) -> int:
        """Its exit code, after at most a second."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        self._end()
        return int(self._process.returncode)


def _end(process: subprocess.Popen[bytes], connection: Connection) -> None:
    connection.close()
    process.kill()
    process.wait()
