"""SIGTERM and Ctrl-C: finish the step, save, and say "again"."""

from __future__ import annotations

import signal
from types import FrameType

from atelier.errors import AtelierError


class Preempted(AtelierError):
    """The run was told to stop and saved its state. 75 is EX_TEMPFAIL of sysexits.h: run the same command again."""

    exit_code = 75


class StopSignal:
    """Context manager that turns the first SIGTERM or SIGINT into a flag; a second one acts as it always did."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopSignal:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _receive(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number)
        signal.signal(number, self._before[number])  # type: ignore[arg-type]
