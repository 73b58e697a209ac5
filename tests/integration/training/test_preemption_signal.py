"""How a process that was told to stop treats the signals that follow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

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


ORPHAN = """
import os, pathlib, signal, subprocess, sys, time

started = pathlib.Path(sys.argv[2])
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], started])
while not started.exists():
    time.sleep(0.05)
os.kill(os.getpid(), signal.SIGKILL)
"""
TRAINING = """
import pathlib, sys, time
from atelier.training.preemption import StopSignal

with StopSignal() as stop:
    pathlib.Path(sys.argv[1]).touch()
    for _ in range(100):
        time.sleep(0.1)
        if stop.received:
            break
    print("told" if stop.received else "not told", flush=True)
"""


@pytest.mark.parametrize(("environment", "said"), [({"DVC_STAGE": "train"}, "told\n"), ({}, "not told\n")])
def test_a_stage_whose_dvc_is_gone_saves_and_ends(environment: dict[str, str], said: str, tmp_path: Path) -> None:
    """What a user has started with nohup and left goes on."""
    command = [sys.executable, "-c", ORPHAN, TRAINING, str(tmp_path / "started")]
    others = {name: value for name, value in os.environ.items() if name != "DVC_STAGE"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=others | environment) as parent:
        assert parent.stdout is not None and parent.stdout.read() == said  # to the end of the child, which has it open
