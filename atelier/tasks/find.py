"""From a task's name in params.yaml to its class: `atelier/tasks/NAME/task.py` names it `TASK`."""

from __future__ import annotations

import importlib

from atelier.config.model import tasks
from atelier.config.section import SettingsError
from atelier.config.training import TrainSettings
from atelier.networks.base import Generator
from atelier.tasks.base import Task
from atelier.tasks.sampling import Sampling


def module(name: str) -> str:
    """The module that holds the task of that name."""
    return f"atelier.tasks.{name}.task"


def find(name: str) -> type[Task]:
    """The task of that name. Raises SettingsError where this version has none of that name."""
    if name not in (known := tasks()):
        raise SettingsError(f"there is no task {name} in this version of Atelier, which knows {', '.join(known)}")
    found: type[Task] = importlib.import_module(module(name)).TASK
    return found


def check_sets(task: type[Task], settings: TrainSettings, section: str) -> None:
    """Refuses settings that name other sets than the task learns from. Raises SettingsError."""
    if {*settings.sets} != {*task.sets}:
        named, wanted = ", ".join(settings.sets), ", ".join(task.sets)
        raise SettingsError(f"{section}.data names {named}, but task {name_of(task)} learns from {wanted}; name these")


def sampling_of(generator: Generator) -> Sampling:
    """What is measured of a generator that was loaded. Raises SettingsError as `find` does."""
    return find(generator.info.task).sampling


def name_of(task: type[Task]) -> str:
    """The name by which `find` knows a task: that of its folder."""
    return task.__module__.split(".")[-2]
