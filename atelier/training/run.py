"""A run from its inputs to its checkpoint folder: train from scratch, or from a trained generator."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import atelier
from atelier.data.packed import PackedDataset
from atelier.generator import GeneratorInfo
from atelier.networks.layers import ImageShape
from atelier.settings import ModelSettings, TrainSettings, fingerprint
from atelier.tasks.generation import Generation
from atelier.training import checkpoint
from atelier.training.checkpoint import Start
from atelier.training.distributed import Ranks
from atelier.training.loop import Measure, Observer, Trainer
from atelier.training.monitors import TrainingStopped
from atelier.training.preemption import StopSignal
from atelier.training.state import RunFolder

log = logging.getLogger("atelier.training")

SHOWN = 10  # class names in a message

CODE = ("data", "networks", "tasks", "training", "augment.py", "objectives.py", "generator.py")


def code_hash() -> str:
    """sha256 over the source files that decide what a training run computes."""
    root = Path(atelier.__file__).parent
    digest = hashlib.sha256()
    for part in CODE:
        path = root / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(f"{file.relative_to(root).as_posix()}\0{len(file.read_bytes())}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def run_key(
    model: ModelSettings, settings: TrainSettings, data: PackedDataset, measured_by: dict[str, Any], start: Start | None
) -> str:
    """Identity of a run: the hash of its code, data, settings (the seed among them), the metric that chooses, and its parent."""
    return fingerprint(
        {
            "code": code_hash(),
            "torch": torch.__version__,
            "data": data.content_hash,
            "split": data.split,
            "model": model.identity(),
            "settings": settings.model_dump(mode="json"),
            "measured_by": measured_by,
            "parent": start.sha256 if start else None,
        }
    )


def run(
    model: ModelSettings,
    settings: TrainSettings,
    data: PackedDataset,
    output: Path,
    states: Path,
    measure: Measure,
    measured_by: dict[str, Any],
    device: torch.device,
    ranks: Ranks,
    git: dict[str, str],
    observers: Sequence[Observer] = (),
    start: Start | None = None,
) -> GeneratorInfo:
    """Trains on `data`, writes the checkpoint folder `output`; goes on by itself from what an interrupted run left in `states`.

    `start` makes it a fine-tuning run. `measure` chooses the best checkpoint, `measured_by` is its identity's fixed part;
    `git` (commit and dirty state) is written into generator.json. Raises Preempted, TrainingStopped, GeneratorError.
    """
    classes = data.classes if model.conditional else []
    shape = ImageShape(data.resolution, data.channels, len(classes))
    if start:
        start.check(model, data.resolution, data.channels, str(data.folder))
    torch.manual_seed(settings.seed)
    np.random.seed(settings.seed)  # noqa: NPY002 - nothing here uses it, a library might
    random.seed(settings.seed)
    task = Generation(model, settings, shape)
    folder = RunFolder(states, run_key(model, settings, data, measured_by, start))

    def describe(evaluation: dict[str, Any]) -> GeneratorInfo:
        return GeneratorInfo(
            model=model.identity(),
            resolution=data.resolution,
            channels=data.channels,
            classes=classes,
            latent_dim=task.generator.latent_dim,
            conditional=model.conditional,
            images_seen=evaluation["images"],
            step=evaluation["step"],
            seed=settings.seed,
            data={"content_hash": data.content_hash, "split": data.split, "source": data.manifest.source},
            settings=settings.model_dump(mode="json"),
            code={"sha256": code_hash(), **git},
            run_key=folder.key,
            metric={"value": evaluation["value"], "identity": evaluation["identity"]},
            parent=start.lineage() if start else None,
        )

    with folder.lock() if ranks.first else contextlib.nullcontext(), StopSignal() as stop:
        trainer = Trainer(task, settings, data, folder, measure, device, ranks, observers)
        if start:
            fresh = start.load(task, trainer.average, classes)
            if fresh and ranks.first:
                known = ", ".join(start.info.classes[:SHOWN]) or "none"
                new = ", ".join(fresh[:SHOWN])
                log.info(f"{len(fresh)} of {len(classes)} classes are new to the generator: {new} (it knows {known})")
        if ranks.first and folder.newest() is None and (others := folder.interrupted_others()):
            log.warning(
                f"begins anew: {', '.join(map(str, others))} was interrupted, but with other code, data or settings; "
                "it stays as it is, remove it when it is not needed"
            )
        try:
            finished = trainer.run(stop)
        except TrainingStopped as stopped:
            raise TrainingStopped(f"{stopped}; {_keep_best(trainer, folder, describe)}") from stopped
        info = describe(finished.evaluation)
        if ranks.first:
            checkpoint.export(finished.best, info, finished.history, folder.grids, output)
            folder.mark_finished()
    return info


def _keep_best(trainer: Trainer, folder: RunFolder, describe: Callable[[dict[str, Any]], GeneratorInfo]) -> str:
    """Exports the best checkpoint of a run that was stopped, and says where it is."""
    if trainer.best is None:
        return "there was no measured checkpoint yet"
    kept = folder.path / "best"
    if trainer.ranks.first:
        best = folder.step(trainer.best["step"])
        checkpoint.export(best, describe(trainer.best), trainer.history, folder.grids, kept)
    return f"its best checkpoint ({trainer.best['images']} images, distance {trainer.best['value']:.4g}) is kept in {kept}"
