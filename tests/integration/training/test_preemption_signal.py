"""How a process that was told to stop treats the signals that follow."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, sys
from atelier.tracking.step_run import _sigterm_exits
from atelier.training.preemption import Preempted, StopSignal

try:
    with _sigterm_exits(), StopSignal() as stop:  # as the first rank does, which tells MLflow
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == signal.SIGTERM
        if sys.argv[1] == "preempted":
            raise Preempted("saved")
except Preempted:
    pass
os.kill(os.getpid(), signal.SIGTERM)
print("still here")
"""


@pytest.mark.parametrize(("way", "code", "said"), [("preempted", 0, "still here\n"), ("finished", -signal.SIGTERM, "")])
def test_a_sigterm_that_comes_late_hurts_nobody_who_is_leaving(way: str, code: int, said: str) -> None:
    """Of two nodes one may be told a moment after the other has made both save: its exit code has to be 75 all the same."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, way], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (code, said), done.stderr
