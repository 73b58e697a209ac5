"""The tasks that there are, and the section that each has in a training's settings. Imports no PyTorch.

A task is a folder of atelier/tasks/ with a file task.py. What it alone has to be told is in its file settings.py, whose
`Settings` are a section of its name in `train` and `finetune`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path

from atelier.config.section import Section

FOLDER = Path(__file__).parents[1] / "tasks"


def tasks() -> tuple[str, ...]:
    """Names of the tasks that there are, from the folders of atelier/tasks/."""
    return tuple(sorted(file.parent.name for file in FOLDER.glob("*/task.py")))


@cache
def task_settings() -> dict[str, type[Section]]:
    """The sections of tasks by their names."""
    names = sorted(file.parent.name for file in FOLDER.glob("*/settings.py"))
    return {name: import_module(f"atelier.tasks.{name}.settings").Settings for name in names}
