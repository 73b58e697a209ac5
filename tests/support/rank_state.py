"""Trains fusion, or a task of OF_TASKS or STAGES, as one of several ranks; prints the hash of all that its next step depends on.

forked.Forked("rank_state", NAME, DATA[,DATA ...], FOLDER)
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from atelier.data.packed import PackedDataset
from atelier.tasks.find import find
from atelier.training.distributed import ranks
from atelier.training.preemption import StopSignal
from atelier.training.states import RunFolder
from atelier.training.trainer import Trainer
from tests.support.driver import pixel_distance, tiny
from tests.support.fusion_tasks import BASE
from tests.support.restoration_tasks import STAGES
from tests.support.translation_tasks import OF_TASKS


def command(name: str, data: str, folder: str) -> None:
    torch.set_num_threads(1)
    settings, cpu = tiny(*{**OF_TASKS, **STAGES, "fusion": BASE}[name], "train.images=48"), torch.device("cpu")
    task = find(settings.model.task)
    sets = dict(zip(task.sets, (PackedDataset(Path(one)) for one in data.split(",")), strict=True))
    with ranks(cpu) as these:
        torch.manual_seed(100 * these.rank)  # begins otherwise on each
        learnt = task.build(settings.model, settings.train, sets)
        torch.manual_seed(0)
        run = RunFolder(Path(folder), "k" * 16)
        run.grids.mkdir(parents=True, exist_ok=True)
        trainer = Trainer(learnt, settings.train, sets, run, pixel_distance(list(sets.values())[-1]), cpu, these)
        with StopSignal() as stop:
            trainer.run(stop)
    found = hashlib.sha256(json.dumps(learnt.memory, sort_keys=True).encode())
    for group, tensors in {**trainer.learner.tensors(), "pools": learnt.pools}.items():
        for key, value in sorted(tensors.items()):
            found.update(f"{group} {key}".encode() + value.numpy().tobytes())
    print(len(learnt.pools), found.hexdigest())
