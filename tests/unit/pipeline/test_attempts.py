"""Attempts inside a task: real processes, which are killed, preempted, or fail for good."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import attempts
from pipelines.attempts import Attempts
from tests.support.small import ROOT

COUNTED = """
import os, pathlib, signal, sys
notes = pathlib.Path(sys.argv[1])
attempt = len(notes.read_text()) if notes.exists() else 0
notes.open("a").write("x")
how = sys.argv[2].split(",")[attempt]
os.kill(os.getpid(), signal.SIGKILL) if how == "KILL" else sys.exit(int(how))
"""


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "FIRST_PAUSE", 0.0)


@pytest.mark.parametrize(
    ("ends", "retries", "code", "made"),
    [
        ("0", 3, 0, 1),
        ("75,KILL,0", 3, 0, 3),
        ("1", 3, 1, 1),  # an error that the user can mend
        ("2", 3, 2, 1),  # a wrong command line
        ("75,1", 3, 1, 2),
        ("75,75,75", 2, 75, 3),
        ("KILL,KILL", 1, 128 + signal.SIGKILL, 2),
    ],
)
def test_what_is_repeated(at_once: None, ends: str, retries: int, code: int, made: int, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    assert Attempts([sys.executable, "-c", COUNTED, str(notes), ends], retries).run() == code
    assert len(notes.read_text()) == made


def test_the_pauses_grow(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(Attempts, "_wait", lambda _, seconds: pauses.append(seconds))
    Attempts([sys.executable, "-c", COUNTED, str(tmp_path / "notes"), "75,KILL,75,75,75,75,0"], 6).run()
    assert pauses == [30, 60, 120, 240, 480, 600]
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == "the training was preempted; attempt 2 of 7 goes on from the last save in 30 s"
    assert second == "the training was killed by SIGKILL; attempt 3 of 7 goes on from the last save in 60 s"


def test_what_a_killed_attempt_leaves_behind_is_gone_before_the_next(at_once: None, tmp_path: Path) -> None:
    left = tmp_path / "left"
    code = f"""
import os, pathlib, signal, subprocess, sys, time
left = pathlib.Path({str(left)!r})
if left.exists():
    time.sleep(0.1)
    state = pathlib.Path("/proc", left.read_text(), "stat")
    sys.exit(3 if state.exists() and state.read_text().split()[2] != "Z" else 0)
left.write_text(str(subprocess.Popen(["sleep", "60"]).pid))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert Attempts([sys.executable, "-c", code], 1).run() == 0


STOPPED = """
import signal, sys, time
from pathlib import Path
def save(*_):
    time.sleep(0.5)
    Path(sys.argv[1]).write_text("saved")
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGINT, save)
Path(sys.argv[1]).write_text("ready")
time.sleep(60)
"""


def attempting(command: list[str]) -> list[str]:
    """A process of its own that makes attempts at a command."""
    code = f"import sys\nfrom pipelines.attempts import Attempts\nsys.exit(Attempts({command!r}, 3).run())"
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_task_that_is_told_to_stop_has_time_to_save_and_makes_no_further_attempt(number: int, tmp_path: Path) -> None:
    file = tmp_path / "state"
    task = subprocess.Popen(attempting([sys.executable, "-c", STOPPED, str(file)]), cwd=ROOT)
    wait_for(file, "ready")
    task.send_signal(number)
    assert task.wait(20) == 75 and file.read_text() == "saved"


def test_a_task_that_is_told_to_stop_in_a_pause_ends(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    command = [sys.executable, "-c", COUNTED, str(notes), "75,0"]
    task = subprocess.Popen(attempting(command), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert task.stderr and "attempt 2 of 4" in task.stderr.readline()
    task.terminate()
    assert task.wait(20) == 75 and notes.read_text() == "x"


@pytest.mark.parametrize(("ends", "code", "made"), [("KILL,75,0", 0, 3), ("2", 2, 1)])
def test_a_task_runs_its_component_in_a_process_of_its_own(ends: str, code: int, made: int, tmp_path: Path) -> None:
    """What a container runs, as cluster.place tells it to."""
    quick = "import pipelines.attempts, runpy\npipelines.attempts.FIRST_PAUSE = 0.0\n"
    quick += "runpy.run_module('pipelines.task', None, '__main__', True)"
    arrived = {"inputs": {}, "outputs": {"outputFile": str(tmp_path / "output.json")}}
    arguments = ["tests.support.interrupted_task:work", "--step=work", "--section=", "--executor_input", json.dumps(arrived)]
    told = {"ATELIER_RETRIES": "3", "ENDS": ends, "NOTES": str(tmp_path / "notes"), "_KFP_RUNTIME": "true"}
    environment = {**os.environ, **told, "MLFLOW_TRACKING_URI": "http://nowhere"}
    done = subprocess.run([sys.executable, "-c", quick, *arguments], cwd=ROOT, env=environment, timeout=120, check=False)
    noted = [line.split() for line in (tmp_path / "notes").read_text().splitlines()]
    assert done.returncode == code and len(noted) == made
    assert len({process for process, _ in noted}) == made
    assert {retries for _, retries in noted} == {"None"}  # an attempt makes no further ones itself


def wait_for(file: Path, content: str) -> None:
    until = time.monotonic() + 20
    while not (file.exists() and file.read_text() == content):
        assert time.monotonic() < until
        time.sleep(0.02)
