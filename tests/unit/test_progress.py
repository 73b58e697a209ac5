"""Progress in a log and on a terminal, by a clock of the test's own."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from atelier.io import progress
from atelier.io.progress import bar, each
from tests.support.small import ROOT
from tests.unit.test_house import SOURCES, imports


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "monotonic", made)
    return made


def test_a_log_gets_a_line_every_half_a_minute(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with bar("train", 60_000) as shown:
        for step in range(100):
            clock.now += 1
            if step == 10:
                shown.set_postfix_str("D=0.693, G=0.700")
            shown.update(600)
    captured = capsys.readouterr()
    assert not captured.out and "\r" not in captured.err
    assert captured.err.splitlines() == [
        "train: 18,000 of 60,000 images, 600 images/s, 1 min 10 s left, D=0.693, G=0.700",
        "train: 36,000 of 60,000 images, 600 images/s, 40 s left, D=0.693, G=0.700",
        "train: 54,000 of 60,000 images, 600 images/s, 10 s left, D=0.693, G=0.700",
        "train: 60,000 of 60,000 images, 600 images/s, D=0.693, G=0.700",
    ]


def test_what_was_done_before_is_no_part_of_the_speed(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    shown = bar("train", 20_000, initial=12_288)
    clock.now += 60
    shown.update(12)
    assert capsys.readouterr().err == "train: 12,300 of 20,000 images, 0.2 images/s, 10 h 41 min left\n"


def test_what_is_over_sooner_leaves_no_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with bar("pack", 10) as shown:
        clock.now += 29.9
        shown.update(10)
    assert capsys.readouterr().err == ""


def test_a_line_is_told_once(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with bar("pack", 10) as shown:
        clock.now += 30
        shown.update(10)
    assert capsys.readouterr().err == "pack: 10 of 10 images, 0.333 images/s\n"


def test_bytes_and_what_has_no_known_end(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with bar("fetching weights", 95_600_000, unit="B") as shown:
        clock.now += 31
        shown.update(31_000_000)
    with bar("fetch", None, unit="files") as shown:
        clock.now += 40
        shown.update(100)
    assert capsys.readouterr().err.splitlines() == [
        "fetching weights: 31.0 MB of 95.6 MB, 1.0 MB/s, 1 min 05 s left",
        "fetch: 100 files, 2.5 files/s",
    ]


def test_nothing_is_shown_where_nobody_is_to_see_it(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with bar("train", 10, shown=False) as shown:
        clock.now += 100
        shown.set_postfix_str("D=1")
        shown.update(10)
    assert capsys.readouterr().err == ""


def test_each_hands_on_every_item(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    seen = []
    for item in each("abc", "project", 3, "steps"):
        clock.now += 20
        seen.append(item)
    assert seen == ["a", "b", "c"]
    assert capsys.readouterr().err.splitlines() == [
        "project: 2 of 3 steps, 0.05 steps/s, 20 s left",
        "project: 3 of 3 steps, 0.05 steps/s",
    ]


def test_a_terminal_gets_a_bar() -> None:
    """Also behind DVC, which hands its terminal on to what it runs."""
    code = "from atelier.io.progress import bar\nwith bar('pack', 3) as shown: shown.update(3)"
    own, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [sys.executable, "-c", f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {code!r}], check=True)"]
    done = subprocess.run(command, stderr=theirs, stdout=subprocess.DEVNULL, cwd=ROOT, timeout=60, check=False)
    os.close(theirs)
    written = io.FileIO(own).read(65536).decode()
    assert done.returncode == 0 and "\r" in written and re.search(r"pack: 100%\|.*\| 3/3 ", written)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_other_module_draws_bars(path: Path) -> None:
    drawn = {name for name in imports(path) if name.startswith(("tqdm", "rich.progress"))}
    assert not drawn or path == ROOT / "atelier" / "io" / "progress.py"
