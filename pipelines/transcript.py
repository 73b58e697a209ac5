"""What a run of kfp.local prints, made readable."""

from __future__ import annotations

import io
import re
from typing import TextIO

TASK = re.compile(r"Executing task .*'([\w-]+)'")
HEEDED = re.compile(r"^( *)\[KFP Executor [^\]]*(WARNING|ERROR|CRITICAL)\]: ")  # its prefix of what the step itself has logged
FAILED = re.compile(r"Task .*'([\w-]+)'.* finished with status .*FAILURE")
STEP = "    "  # kfp.local indents what a step prints, and nothing else before the step has succeeded


class Transcript(io.TextIOBase):
    """Stands for stdout: passes lines on, less what KFP's executor says about itself.

    `tasks` are the names of the tasks that began, in order. `failure` is the first one that failed, and why: its error in one
    line, or the last thing that it said.
    The executor lists all inputs of a task, a line for each value: a thousand lines a run, between which the progress of
    training could not be found.
    """

    def __init__(self, stream: TextIO) -> None:
        self.tasks: list[str] = []
        self.failure = ("", "it said nothing")
        self._stream = stream
        self._begun = ""
        self._listing = 0  # how far the list that is being printed is indented; 0 for none
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

    def _take(self, line: str) -> None:
        line = HEEDED.sub(r"\1\2: ", line)
        if not line.strip() or self._of_executor(line):
            return
        if line.startswith(STEP):
            self._said.append(line.strip())
        elif begun := TASK.search(line):
            self.tasks.append(begun[1])
            self._said = []
        elif (failed := FAILED.search(line)) and not self.failure[0]:
            errors = [said for said in self._said if said.startswith("error: ")]
            self.failure = failed[1], (errors or self._said or [self.failure[1]])[-1].removeprefix("error: ")
        self._stream.write(f"{line}\n")

    def _of_executor(self, line: str) -> bool:
        bare = line.lstrip()
        indent = len(line) - len(bare)
        if bare.startswith("[KFP Executor "):
            self._listing = indent if bare.endswith("Got executor_input:") else 0
            return True
        if not (indent > self._listing or bare in ("{", "}")):
            self._listing = 0
        return self._listing > 0
