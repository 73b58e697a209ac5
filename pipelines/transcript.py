"""What a run of kfp.local prints, made readable."""

from __future__ import annotations

import io
import re
from typing import TextIO

TASK = re.compile(r"Executing task .*'([\w-]+)'")
STEP = "    "  # kfp.local indents what a step prints, and nothing else before the step has succeeded


class Transcript(io.TextIOBase):
    """Stands for stdout: passes lines on, less what KFP's executor says about itself.

    `task` is the name of the last task that began, `reason` what it said.
    The executor lists all inputs of a task, a line for each value: a thousand lines a run, between which the progress of
    training could not be found.
    """

    def __init__(self, stream: TextIO) -> None:
        self.task = ""
        self._stream = stream
        self._begun = ""
        self._listing = False
        self._said: list[str] = []

    def write(self, text: str) -> int:
        """Takes text in pieces of any size; a line is passed on when it is complete."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._take(line)
        return len(text)

    def flush(self) -> None:
        """Passes nothing on but what is complete."""
        self._stream.flush()

    @property
    def reason(self) -> str:
        """Why the last task failed: its error in one line, or the last thing that it said."""
        errors = [line for line in self._said if line.startswith("error: ")]
        return (errors or self._said or ["it said nothing"])[-1].removeprefix("error: ")

    def _take(self, line: str) -> None:
        if not line.strip() or self._of_executor(line):
            return
        if line.startswith(STEP):
            self._said.append(line.strip())
        elif begun := TASK.search(line):
            self.task, self._said = begun[1], []
        self._stream.write(f"{line}\n")

    def _of_executor(self, line: str) -> bool:
        if line.startswith(f"{STEP}[KFP Executor "):
            self._listing = line.endswith("Got executor_input:")
            return True
        self._listing = self._listing and (line.startswith(2 * STEP) or line.strip() in ("{", "}"))
        return self._listing
