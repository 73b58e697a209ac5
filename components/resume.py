"""What a run was started with, kept beside its saves: --resume compares it and names what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from atelier.config.model import ModelSettings
from atelier.config.training import TrainSettings
from atelier.data.packed import PackedDataset
from atelier.io.files import atomic_write, canonical_json, read_json
from atelier.tasks.base import Task
from atelier.tasks.find import name_of
from atelier.training.checkpoint import PretrainedModel
from atelier.training.run import code_hash
from atelier.training.states import RunFolder, StateError

FILE = "started-with.json"


def describe(
    task: type[Task],
    model: ModelSettings,
    settings: TrainSettings,
    sets: Mapping[str, PackedDataset],
    measured_by: dict[str, Any],
    init_from: str | None,
    start: PretrainedModel | None,
) -> dict[str, Any]:
    """All that makes a run what it is, readable, with the place that its first weights came from."""
    return {
        "task": name_of(task),
        "model": model.identity(),
        "settings": settings.model_dump(mode="json"),
        "data": {name: images.content_hash for name, images in sets.items()},
        "measured_by": measured_by,
        "init_from": init_from,
        "parent": start.sha256 if start else None,
        "code": code_hash(task, model),
    }


def started_with(run: Path) -> dict[str, Any]:
    """What the run in this folder was started with. Raises StateError if there is no run."""
    try:
        return read_json(run / FILE)
    except OSError as error:
        known = ", ".join(sorted(str(file.parent) for file in run.parent.glob(f"*/{FILE}"))) or "no run at all"
        raise StateError(f"--resume {run}: no run here; {run.parent} holds {known}") from error
    except ValueError as error:
        raise StateError(f"{run / FILE}: damaged ({error}); use --states {run.parent}, which needs no such file") from error


def check(resumed: Path | None, states: Path, key: str, started: dict[str, Any]) -> None:
    """Notes what a run is started with. With `resumed`, raises StateError unless that very run can go on."""
    folder, resumed = RunFolder(states, key), resumed and resumed.resolve()
    if resumed and folder.path.resolve() != resumed:
        changes = "; ".join(_differences(started_with(resumed), started)) or "the version of PyTorch differs"
        raise StateError(f"--resume {resumed}: this run cannot go on, since {changes}; undo that, or begin anew with --states")
    if resumed and folder.newest() is None:
        raise StateError(f"--resume {resumed}: nothing was saved yet; begin anew with --states {states}")
    atomic_write(folder.path / FILE, canonical_json(started))


def _differences(then: dict[str, Any], now: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Each value that differs, as "settings.seed was 0 and is 1"."""
    for key in sorted({*then, *now}):
        before, after = then.get(key), now.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key} was {before} and is {after}"
