"""python -m pipelines: what it refuses, and what it says to somebody who has not used it before."""

from __future__ import annotations

import subprocess
import sys

from tests.support.pipelines_command import IMAGE
from tests.support.small import ROOT


def test_a_cluster_that_does_not_answer_is_one_line() -> None:
    command = [sys.executable, "-m", "pipelines", "submit", "--host", "http://localhost:9", "--image", IMAGE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: http://localhost:9: does not answer (") and "check --host" in line
