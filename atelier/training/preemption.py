"""SIGTERM and Ctrl-C: finish the step, save, and say "again"."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from atelier.errors import AtelierError

GRACE = 10.0  # seconds from the signal to the end of the process
OF_DVC = "DVC_STAGE"  # which DVC gives every command of a stage
PARENT_SECONDS = 1.0
LEAVING = 5.0  # of them for what comes after the state: telling MLflow, and the end of PyTorch, 2 s on a busy machine


class Preempted(AtelierError):
    """The run was told to stop and saved its state. 75 is EX_TEMPFAIL of sysexits.h: run the same command again."""

    exit_code = 75


class StopSignal:
    """Context manager that turns SIGTERM and the first Ctrl-C into a flag; a second Ctrl-C acts as it always did.

    SIGTERM may come twice without meaning haste: to the process group and from torchrun, or to another node a little earlier.
    So after Preempted it stays ignored: the process is on its way out, with the state saved. Haste is SIGKILL.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.at: float | None = None
        self._before: dict[int, object] = {}
        self._over = False

    @property
    def until(self) -> float:
        """When the state has to be where it shall stay, as a time of time.monotonic."""
        return (self.at or time.monotonic()) + GRACE - LEAVING

    def __enter__(self) -> StopSignal:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._receive)
        if OF_DVC in os.environ:
            threading.Thread(target=self._outlive_nobody, args=(os.getppid(),), name="parent", daemon=True).start()
        return self

    def _outlive_nobody(self, parent: int) -> None:
        """Ends this process as SIGTERM does once DVC, which has started it, is gone: DVC and make hand no SIGTERM on."""
        while not self._over:
            time.sleep(PARENT_SECONDS)
            if os.getppid() != parent and not self._over:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over = True
        for number, handler in self._before.items():
            leaving = kind is Preempted and number == signal.SIGTERM
            signal.signal(number, signal.SIG_IGN if leaving else handler)  # type: ignore[arg-type]

    def _receive(self, number: int, _: FrameType | None) -> None:
        if self.received is None:
            self.received, self.at = signal.Signals(number), time.monotonic()
        if number == signal.SIGINT:
            signal.signal(number, self._before[number])  # type: ignore[arg-type]


@contextlib.contextmanager
def outliving_readers() -> Iterator[None]:
    """What the block prints or logs cannot end it when its reader is gone, as Kubeflow's launcher is soon after a SIGTERM."""
    before = sys.stdout, sys.stderr
    kept: tuple[Any, Any] = _Outliving(before[0]), _Outliving(before[1])
    sys.stdout, sys.stderr = kept
    logged = [(handler, handler.stream) for handler in logging.root.handlers if isinstance(handler, logging.StreamHandler)]
    for handler, stream in logged:
        if stream in before:
            handler.setStream(kept[before.index(stream)])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for handler, stream in logged:
            handler.setStream(stream)


class _Outliving:
    """A text stream that becomes /dev/null, for everybody who writes to the same descriptor, once nobody reads it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._leave()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._leave()

    def _leave(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
