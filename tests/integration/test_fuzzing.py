"""tests/fuzz itself: it tells what ends wrongly from what is refused as it should be, and outlives crashes and endless loops."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fuzz import __main__ as module

DYING = """
import json, os, sys, time
told = json.loads(sys.argv[1])
for turn, end in list(enumerate(("fine", "crash", "refuse", "hang", "fine")))[told["turn"]:]:
    os.makedirs(f"{told['work']}/idx/case", exist_ok=True)
    open(f"{told['work']}/idx/case/input", "w").write(end)
    print(json.dumps({"turn": turn, "target": "idx", "number": turn}), flush=True)
    if end == "crash":
        os.kill(os.getpid(), 11)
    if end == "hang":
        time.sleep(100)
    print(json.dumps({"refused": int(end == "refuse")}), flush=True)
"""


def test_a_crash_and_a_hang_are_kept_with_their_input_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dying.py").write_text(DYING)
    monkeypatch.setattr(module, "CHILD", [sys.executable, str(tmp_path / "dying.py")])
    monkeypatch.setattr(module, "CASE_SECONDS", 1.0)
    tally, options = module.Tally(), {"seconds": 60.0, "seed": 3, "repeat": ""}
    module.run_cases(options, tmp_path, tmp_path / "kept", tally)
    assert (tally.cases, tally.refused, tally.wrong) == (5, 1, ["idx", "idx"])
    told = capsys.readouterr().err
    assert "the process died (exit code -11)" in told and "it goes on for more than 1 s" in told
    assert f"repeat it: python -m tests.fuzz --only idx --repeat {tmp_path}/kept/idx-3-1" in told
    assert (tmp_path / "kept" / "idx-3-3" / "input").read_text() == "hang"
