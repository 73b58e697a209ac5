"""From a task's name in params.yaml to its class: `atelier/tasks/NAME/task.py` names it `TASK`."""

from __future__ import annotations

import importlib
from pathlib import Path

from atelier.config.section import SettingsError
from atelier.tasks.base import Task

DEFAULT = "generation"  # what is trained, as long as params.yaml has no choice


def find(name: str) -> type[Task]:
    """The task of that name. Raises SettingsError naming those that there are."""
    if name not in (known := names()):
        raise SettingsError(f"task: {name} is no task of this version of Atelier; choose among {', '.join(known)}")
    found: type[Task] = importlib.import_module(module(name)).TASK
    return found


def module(name: str) -> str:
    """The module of the task of that name."""
    return f"atelier.tasks.{name}.task"


def name_of(task: type[Task]) -> str:
    """The name by which `find` knows a task: that of its folder."""
    return task.__module__.split(".")[-2]


def names() -> list[str]:
    """The names of all tasks."""
    return sorted(module.parent.name for module in Path(__file__).parent.glob("*/task.py"))
