"""docker/engine.sh ends the engine that it started, and nothing else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.small import ROOT


def test_a_number_that_another_process_has_by_now_is_left_alone(tmp_path: Path) -> None:
    """dockerd leaves its file where it is killed, and numbers of processes come again."""
    with subprocess.Popen(["sleep", "60"]) as other:
        (tmp_path / "pid").write_text(str(other.pid))
        command = ["docker/engine.sh", "stop"]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "ENGINE_HOME": str(tmp_path)}, capture_output=True, text=True)
        ended = other.poll()
        other.kill()
    assert done.returncode == 0 and "has ended" in done.stderr and ended is None
    assert not (tmp_path / "pid").exists()
