"""Sections run as processes of their own, which say a row a line, so that a crash or a hang costs no more than its own row."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.gpu.record import FAILED, OK, SKIPPED, Record, Row

LEAST_SECONDS = 5.0  # less does not even start a process
SAID = 300  # characters of an error


class ChildError(Exception):
    """A process failed; what it said."""


class OutOfTime(Exception):
    """A process was ended at its time."""


def say(name: str, figures: Mapping[str, float | int] | None = None, status: str = OK, reason: str = "") -> None:
    """A child's row, on its stdout."""
    print(json.dumps({"name": name, "status": status, "reason": reason, "figures": dict(figures or {})}), flush=True)


def heard(arguments: Sequence[str], until: float) -> Iterator[dict[str, Any]]:
    """Rows of a Python process as it says them. Raises ChildError, and OutOfTime at `until` (of time.monotonic).

    The process and all that it started are gone when this ends, however it ends.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
        late = threading.Event()

        def end() -> None:
            late.set()
            _end(process)

        timer = threading.Timer(max(until - time.monotonic(), 0), end)
        timer.start()
        assert process.stdout
        try:
            for line in process.stdout:
                if line.startswith('{"name"'):
                    yield json.loads(line)
            process.wait()
        finally:
            timer.cancel()
            _end(process)
            process.wait()
            process.stdout.close()
        if late.is_set():
            raise OutOfTime
        if process.returncode:
            errors.seek(0)
            said = [line for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
            raise ChildError(f"exit {process.returncode}: {' '.join(said[-3:])[-SAID:]}")


def _end(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):  # all of its processes have ended
        os.killpg(process.pid, signal.SIGKILL)


def run(section: str, module: Sequence[str], names: Sequence[str], seconds: float, record: Record) -> None:
    """Runs `python -m MODULE NAMES...` until each name has a row; after a crash without the one that was being tried.

    Without names the process knows itself what it tries.
    """
    until, left = time.monotonic() + seconds, list(names)
    print(f"{section}: at most {seconds:.0f} s ...", file=sys.stderr)
    while left or not names:
        try:
            if until - time.monotonic() < LEAST_SECONDS:
                raise OutOfTime
            for row in heard(["-m", *module, *left], until):
                record.add(Row(section, **row))
                if row["name"] in left:
                    left.remove(row["name"])
        except OutOfTime:
            for name in left if names else ["all that was left"]:
                record.add(Row(section, name, SKIPPED, f"the {seconds:.0f} s of this section were over"))
            return
        except ChildError as error:
            record.add(Row(section, left.pop(0) if left else "all that was left", FAILED, str(error)))
        else:
            for name in left:
                record.add(Row(section, name, FAILED, "its process ended without a word of it"))
            return
        if not names:
            return
