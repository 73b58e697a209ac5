"""A component that ends as it is told to, attempt by attempt, and notes each of them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from components.contract import component


@component({}, computes=True, retries=3)
def work() -> None:
    """Notes its process in the file NOTES, then ends as the entry of ENDS for this attempt says: KILL or an exit code."""
    notes = Path(os.environ["NOTES"])
    attempt = len(notes.read_text().splitlines()) if notes.exists() else 0
    with notes.open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {os.environ.get('ATELIER_RETRIES')}\n")
    how = os.environ["ENDS"].split(",")[attempt]
    if how == "KILL":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(int(how))
