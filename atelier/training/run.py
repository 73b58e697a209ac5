"""A run from its inputs to its checkpoint folder: train from scratch, or from a trained generator."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atelier.config.model import ModelSettings, modules
from atelier.config.settings import fingerprint
from atelier.config.training import TrainSettings
from atelier.data.packed import PackedDataset
from atelier.io.closure import APART, closure, digest
from atelier.models.model import GeneratorInfo, Gives
from atelier.networks.base import Generator
from atelier.networks.inputs import Label, Picture, Takes
from atelier.tasks.base import Product, Task
from atelier.tasks.find import name_of
from atelier.training import checkpoint
from atelier.training.alarms import TrainingStopped
from atelier.training.checkpoint import PretrainedModel
from atelier.training.distributed import DistributedError, Ranks
from atelier.training.history import Finished, Observer, measured_text
from atelier.training.precision import Precision, explain, native
from atelier.training.preemption import StopSignal, outliving_readers
from atelier.training.privacy import spent
from atelier.training.states import STATE, RunFolder, StateError, check, exported
from atelier.training.trainer import Measure, Trainer

log = logging.getLogger("atelier.training")

HAND_ON_SECONDS = 600.0  # for a save that the other nodes wait for


def code_hash(task: type[Task], model: ModelSettings) -> str:
    """sha256 over the source files that decide what a training run of this task and architecture computes.

    They are what this module, the task's and the architecture's import, of this package.
    """
    of_task = [task.__module__] if task.__module__.startswith("atelier.") else []
    return digest(closure(__name__, *of_task, *modules(model.architecture), without=APART))


def run_key(
    task: type[Task],
    model: ModelSettings,
    settings: TrainSettings,
    data: Mapping[str, PackedDataset],
    measured_by: dict[str, Any],
    start: PretrainedModel | None,
) -> str:
    """Identity of a run: the hash of its code, data, settings (the seed among them), the metric that chooses, and its parent.

    What saves memory and changes rounding alone is no part of it, so that a run that did not fit goes on with less.
    """
    saving = {"checkpointing"} if model.family.normalized or settings.averages else {"checkpointing", "accumulate"}
    return fingerprint(
        {
            "task": name_of(task),
            "code": code_hash(task, model),
            "torch": torch.__version__,
            "data": {name: [images.content_hash, images.split] for name, images in data.items()},
            "model": model.identity(),
            "settings": settings.model_dump(mode="json", exclude=saving),
            "measured_by": measured_by,
            "parent": start.sha256 if start else None,
        }
    )


def with_precision(
    settings: TrainSettings, device: torch.device, these: Ranks, folder: Callable[[TrainSettings], RunFolder], section: str
) -> TrainSettings:
    """`settings` with `precision: auto` decided, which the first rank says: as the run has begun, or as its device is faster.

    A run that another kind of machine has begun goes on as it began: nothing of it is lost. `folder` is that of the run's saves.
    """
    natively, remedy = native(device), f"set {section}.precision: float32"
    choices: list[Precision] = [natively, "bfloat16" if natively == "float32" else "float32"]
    if settings.precision == "auto":
        decided = [settings.model_copy(update={"precision": precision}) for precision in choices]
        begun = [one for one in decided if folder(one).begun()] if these.first else []
        first = these.from_first(float(bool(begun) and begun[0] is decided[1]), device)
        settings = decided[int(first)]
        remedy = f"its saves were begun in it; remove {folder(settings).path} to begin anew in {natively}"
    assert settings.precision != "auto"
    if these.first:
        emulated = settings.precision == "bfloat16" != natively
        log.log(logging.WARNING if emulated else logging.INFO, explain(settings.precision, device, remedy))
    return settings


def run(
    task: type[Task],
    model: ModelSettings,
    settings: TrainSettings,
    data: Mapping[str, PackedDataset],
    output: Path,
    states: Path,
    measure: Measure,
    measured_by: dict[str, Any],
    device: torch.device,
    ranks: Ranks,
    git: dict[str, str],
    observers: Sequence[Observer] = (),
    start: PretrainedModel | None = None,
    mirror: str | None = None,
) -> dict[str, GeneratorInfo]:
    """Trains a task on `data`, writes the checkpoint folder `output`; goes on by itself from what an interrupted run left.

    That is in `states`. `start` makes it a fine-tuning run. `measure` chooses the best checkpoint, `measured_by` is its
    identity's fixed part; `git` (commit and dirty state) is written into generator.json. `mirror` is an s3:// prefix to which
    saves go too and from which the run goes on where `states` has less. Returns the products' infos by name. Raises Preempted,
    TrainingStopped, GeneratorError, SettingsError, StorageError.
    """
    if start:
        start.check(task, model, settings, data)

    def saves(settings: TrainSettings) -> RunFolder:
        return RunFolder(states, run_key(task, model, settings, data, measured_by, start), mirror)

    if settings.precision == "auto":
        settings = with_precision(settings, device, ranks, saves, "train")
    torch.manual_seed(settings.seed)
    np.random.seed(settings.seed)  # noqa: NPY002 - nothing here uses it, a library might
    random.seed(settings.seed)
    learnt = task.build(model, settings, data)
    folder = saves(settings)

    def describe(evaluation: dict[str, Any]) -> dict[str, GeneratorInfo]:
        common = {
            "images_seen": evaluation["images"],
            "step": evaluation["step"],
            "seed": settings.seed,
            "settings": settings.model_dump(mode="json"),
            "code": {"sha256": code_hash(task, model), **git},
            "run_key": folder.key,
            "metric": {"value": evaluation["value"], "identity": evaluation["identity"]},
            "privacy": spent(settings, len(next(iter(data.values()))), evaluation["step"]),
        }
        return {product.name: _describe(learnt, product, model, data, start, common) for product in learnt.products}

    def train(stop: StopSignal) -> Finished:
        trainer = Trainer(learnt, settings, data, folder, measure, device, ranks, observers)
        if start:
            for remark in start.load(learnt, trainer.averages, data) if ranks.first else []:
                log.info(remark)
            ranks.same_start([*learnt.networks.values(), *trainer.averages.values()])
        if ranks.first and folder.newest() is None and (others := folder.interrupted_others()):
            log.warning(
                f"begins anew: {', '.join(map(str, others))} was interrupted, but with other code, data or settings; "
                "it stays as it is, remove it when it is not needed"
            )
        try:
            return trainer.run(stop)
        except TrainingStopped as stopped:
            raise TrainingStopped(f"{stopped}; {_keep_best(trainer, folder, describe)}") from stopped

    with outliving_readers(), folder.lock() if ranks.first else contextlib.nullcontext():
        _agree(folder, ranks, device)
        with StopSignal() as stop:
            finished = _finished(folder, observers) or train(stop)
            infos = describe(finished.evaluation)
            if ranks.first:
                _export(folder, finished.best, infos, finished.history, output)
                folder.mark_finished(finished.evaluation, finished.history)
    return infos


def _describe(
    task: Task,
    product: Product,
    model: ModelSettings,
    data: Mapping[str, PackedDataset],
    start: PretrainedModel | None,
    common: dict[str, Any],
) -> GeneratorInfo:
    """generator.json of a product."""
    network, images, given = task.networks[product.network], data[product.imitates], data[product.given]
    assert isinstance(network, Generator)
    takes: Takes = {
        name: kind.model_copy(update={"background": given.background}) if isinstance(kind, Picture) else kind
        for name, kind in network.takes.items()
    }
    labeled = any(isinstance(kind, Label) for kind in takes.values())
    return GeneratorInfo(
        task=name_of(type(task)),
        product=product.name,
        model=model.identity(),
        takes=takes,
        gives=Gives(resolution=network.shape.resolution, channels=network.shape.channels),
        classes=images.classes if labeled else [],
        data={"content_hash": images.content_hash, "split": images.split, "source": images.manifest.source},
        parent=start.lineage(product.name) if start else None,
        **common,
    )


def _agree(folder: RunFolder, ranks: Ranks, device: torch.device) -> None:
    """Has every node begin with the save of the first rank, which is the mirror's where that is newer than its own."""
    if folder.mirror and ranks.first:
        folder.mirror.check_writable()
        folder.fetch()
        folder.send_newest()
        if ranks.world > 1 and not folder.mirror.wait(HAND_ON_SECONDS):
            raise StateError(
                f"{folder.mirror.where}: took not the newest save within {HAND_ON_SECONDS:.0f} s, which the other nodes need; "
                "check the store, then run again"
            )
    progress = ranks.from_first(folder.progress, device)
    if folder.mirror and ranks.first_on_node and not ranks.first:
        folder.fetch(exactly=progress)
    ranks.any(False, device)
    if ranks.any(folder.progress != progress, device):
        raise DistributedError(
            f"the ranks find different saves in {folder.path}; give all nodes the same --states folder, or one --mirror"
        )


def _finished(folder: RunFolder, observers: Sequence[Observer]) -> Finished | None:
    """The end of a run that came to it before, by a process that may not have lived to hand it over."""
    record = folder.finished()
    if record is None:
        return None
    for observer in observers:
        observer.started(record["history"])
    return Finished(folder.step(record["evaluation"]["step"]), record["evaluation"], record["history"])


def _export(folder: RunFolder, best: Path, infos: dict[str, GeneratorInfo], history: dict[str, Any], output: Path) -> None:
    """Writes the checkpoint folder of a save that is as it was written."""
    if (best / STATE).exists():  # what a mirror brought of a run that was finished before hashes were kept is without
        check(best, exported(best), f"remove {folder.path} to train again")
    checkpoint.export(best, infos, history, folder.grids, output)


def _keep_best(trainer: Trainer, folder: RunFolder, describe: Callable[[dict[str, Any]], dict[str, GeneratorInfo]]) -> str:
    """Exports the best checkpoint of a run that was stopped, and says where it is."""
    best = trainer.history.best
    if best is None:
        return "there was no measured checkpoint yet"
    kept = folder.path / "best"
    if trainer.ranks.first:
        history = trainer.history.values
        trainer.clock.add_to(history["compute"])
        _export(folder, folder.step(best["step"]), describe(best), history, kept)
    return f"its best checkpoint ({best['images']} images, {measured_text(best)}) is kept in {kept}"
