"""Runs in a real MLflow store: nesting, resuming, statuses, and life without the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.tracked_runs import EXPERIMENT, run_of


def test_sigterm_marks_the_run_killed(tracking: Path) -> None:
    script = (
        "import time\n"
        "from atelier.tracking.step_run import step_run\n"
        f"with step_run('evaluate', {EXPERIMENT!r}, {{}}, required=True) as run:\n"
        "    print(run.run_id, flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stdout
    run_id = process.stdout.readline().strip()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert run_of(run_id).info.status == "KILLED"
