"""Attempts of a task that computes, inside its own container, so that they depend on no setting of the cluster.

The task runs in a child process. When that was preempted (exit code 75, the state is saved) or was killed by a signal, it is
started again after a pause, up to the component's `retries`; an error that would come again ends the task at once. Each attempt
goes on from the last save. SIGTERM and Ctrl-C reach the child, which saves, and no further attempt is made.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from types import FrameType

from atelier.training.preemption import Preempted

AGAIN = Preempted.exit_code
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 600.0  # seconds; each is twice the one before
LOOK_SECONDS = 0.5
FORWARDED = (signal.SIGTERM, signal.SIGINT)


class Attempts:
    """Runs `command` until it ends otherwise than by preemption or a signal, and at most `retries` times more."""

    def __init__(self, command: Sequence[str], retries: int) -> None:
        self._command, self._retries = command, retries
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped: int | None = None

    def run(self) -> int:
        """The exit code of the last attempt; 128 and the signal's number where one killed it."""
        with self._forwarding():
            for attempt in range(self._retries + 1):
                code = self._once()
                if self._stopped is not None or not (code == AGAIN or code < 0) or attempt == self._retries:
                    break
                pause = min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE)
                print(
                    f"{_ended(code)}; attempt {attempt + 2} of {self._retries + 1} goes on from the last save in {pause:.0f} s",
                    file=sys.stderr,
                    flush=True,
                )
                self._wait(pause)
                if self._stopped is not None:
                    break
        return 128 - code if code < 0 else code

    def _once(self) -> int:
        # A group of its own: what a killed attempt leaves behind holds memory of the GPU that the next one needs.
        self._process = subprocess.Popen(self._command, process_group=0)
        if self._stopped is not None:  # the signal came before there was a process
            self._forward(self._stopped)
        code = self._process.wait()
        self._forward(signal.SIGKILL)
        return code

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._stopped is None and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)

    def _forward(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):  # all of the group have ended
                os.killpg(self._process.pid, number)

    @contextlib.contextmanager
    def _forwarding(self) -> Iterator[None]:
        def receive(number: int, _: FrameType | None) -> None:
            self._stopped = number
            self._forward(number)

        before = {number: signal.signal(number, receive) for number in FORWARDED}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _ended(code: int) -> str:
    return "the training was preempted" if code == AGAIN else f"the training was killed by {signal.Signals(-code).name}"
