"""make gpu-check, rehearsed on the CPU: rows, what a crash, a hang and a signal leave, and that no rehearsal comes into docs/."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import __main__ as program
from benchmarks.gpu import limits
from benchmarks.gpu.record import OK


def test_a_rehearsal_goes_through_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As its user runs it: sections as processes of their own, one of which runs tests."""
    arguments = ["benchmarks.gpu", "--rehearse", "--sections", "limits", "cases", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    program.main()
    written = json.loads((tmp_path / "gpu.json").read_text())
    rows = {(row["section"], row["name"]): row for row in written["rows"]}
    assert {status for row in rows.values() if (status := row["status"]) != OK} == set()
    assert [name for section, name in rows if section == "limits"] == list(limits.NAMES)
    assert ("cases", "a group of one rank trains as no group does[cpu]") in rows
    assert "tiny sizes" in written["facts"]["rehearsal"] and written["facts"]["packages"].startswith("torch 2.")
    page = (tmp_path / "gpu.md").read_text()
    assert "## Cases of the test suite" in page and "| TFLOP/s |" in page and "## FID" not in page
    assert f"{len(rows)} ok, 0 failed, 0 skipped" in page and f"{len(rows)} ok" in capfd.readouterr().err
