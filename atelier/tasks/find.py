"""From a task's name in params.yaml to its class: `atelier/tasks/NAME/task.py` names it `TASK`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from atelier.config.section import SettingsError
from atelier.config.tasks import tasks
from atelier.config.training import TrainSettings
from atelier.data.manifest import load_manifest
from atelier.data.packed import PackedDataset
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
    """What is measured of a generator that was loaded, by the task's section of its training. Raises SettingsError."""
    name = generator.info.task
    return find(name).sampling_of(generator.info.settings.get(name))


def measured_sets(
    generator: Generator,
    data: Path,
    inputs: Path | None,
    count: int,
    opened: Callable[[Path, str], PackedDataset] = PackedDataset,
) -> tuple[PackedDataset, PackedDataset]:
    """The set that a loaded generator is measured against, and the one whose `count` records it is given.

    Both are of the splits by which its task measures; `opened` opens a split, once for several generators where it remembers.
    Raises DataError, SettingsError.
    """
    sampling = sampling_of(generator)
    images = opened(data, sampling.split_of_imitated(load_manifest(data)))
    given = opened(inputs, sampling.split) if inputs else images
    sampling.check(given, count)
    return images, given


def name_of(task: type[Task]) -> str:
    """The name by which `find` knows a task: that of its folder."""
    return task.__module__.split(".")[-2]
