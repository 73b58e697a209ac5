"""Trains a tiny network as a process of its own, for tests that kill it or start several ranks.

python tests/support/driver.py DATA[,DATA ...] OUTPUT STATES [key=value ...]

The task is model.task, and DATA its packed sets in its order, by the last of which the best save is chosen. With
MIRROR=s3://bucket/prefix in the environment saves go there too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atelier.command_line import tell
from atelier.config import settings
from atelier.config.settings import Settings
from atelier.data.packed import PackedDataset
from atelier.errors import AtelierError
from atelier.models.model import sample
from atelier.networks.base import Generator
from atelier.tasks.base import Task
from atelier.tasks.find import find
from atelier.training.distributed import ranks
from atelier.training.history import Observer
from atelier.training.run import run
from atelier.training.trainer import Measure

TINY = [
    "model.architecture=mlp",
    "model.mlp.hidden=[32]",
    "model.latent_dim=8",
    "train.images=4096",
    "train.batch=32",
    "train.save_every=320",
    "train.log_every=160",
    "train.evaluate_every=480",
    "train.evaluate_from=0.2",
    "train.objective=relativistic",
    "train.penalty_every=1",
    "train.augment=ada",
    "train.augment_p=0.5",
    "train.ada_images=5000",
    "train.on_alarm=warn",
    "train.precision=float32",
    "train.accumulate=1",
    "train.compile=false",
]

NARROW = "width_generator=8 widest_generator=16 width_discriminator=8 widest_discriminator=16"


def _family(name: str, section: str, *train: str) -> list[str]:
    chosen = [f"model.{name}.{one}" for one in section.split()]
    return [f"model.architecture={name}", *chosen, *(f"train.{one}" for one in ("augment=none", "regularizers={}", *train))]


# Each with what its paper trains it by, so that together they go through every objective and every regulariser.
FAMILIES = {
    "mlp": ["train.augment=ada"],
    "mlp_deep": _family("mlp_deep", "hidden=[16,32]", "objective=wasserstein", "clip=0.01", "critic_steps=2"),
    "dcgan": ["model.architecture=dcgan", "model.dcgan.width=4", "train.augment=diffaugment", "train.precision=bfloat16"],
    "resnet": _family(
        "resnet", NARROW, "objective=hinge", "regularizers={lecam: 0.3, zcr_discriminator: 5.0, zcr_generator: 0.5}"
    ),
    "sagan": _family("sagan", NARROW, "objective=hinge", "lr_discriminator=0.004", "augment=diffaugment", "balance=rates"),
    "progan": _family("progan", "width=8 widest=16", "objective=wasserstein", "regularizers.gradient_penalty=10.0"),
    "biggan": _family("biggan", f"{NARROW} embedding=8 scales=2", "objective=hinge", "regularizers.orthogonal=0.0001"),
    "stylegan2": _family(
        "stylegan2",
        "width=8 widest=16 mixing=0.5",
        "objective=nonsaturating",
        "regularizers={r1: 1.0, path_length: 2.0}",
        "penalty_every=4",
    ),
    "r3gan": ["model.architecture=r3gan", "model.r3gan.channels=[16,16,8]", "model.r3gan.group_size=8", "train.augment=none"],
    "gat": _family(
        "gat",
        "width=16 base_width=32 depth=4 heads=2 projection=8",
        "regularizers={approximate_r1: 1.0, approximate_r2: 1.0}",
        "augment=diffaugment",
    ),
}


def tiny(*overrides: str) -> Settings:
    """params.yaml with a network and a budget that take seconds."""
    return settings.load(Path(__file__).parents[2] / "params.yaml", [*TINY, *overrides])


def pixel_distance(data: PackedDataset) -> Measure:
    """A cheap stand-in for the evaluation metric: how far the mean image of 64 samples is from the data's."""
    target = data.images(np.arange(len(data))).mean(0)

    def measure(averages: Mapping[str, torch.nn.Module]) -> tuple[float, dict[str, Any]]:
        made = (sample(average, 64, seed=7) for average in averages.values() if isinstance(average, Generator))
        images = np.concatenate([part for parts in made for part in parts])
        torch.rand(3), np.random.rand(3)  # noqa: NPY002 - a measurement that draws must not move the run
        return float(np.abs(images.mean(0) - target).mean()), {"identity": {"metric": "pixel_distance"}, "metrics": {}}

    return measure


class Announce(Observer):
    """Tells the test, on stdout, how far the run is."""

    def started(self, history: dict[str, Any]) -> None:
        print("started", len(history["points"]), flush=True)

    def point(self, point: dict[str, float]) -> None:
        print("point", int(point["step"]), flush=True)


def main(data: str, output: str, states: str, *overrides: str) -> None:
    torch.set_num_threads(1)
    chosen = tiny(*overrides)
    task = _task(chosen)
    sets = dict(zip(task.sets, (PackedDataset(Path(one)) for one in data.split(",")), strict=True))
    cpu = torch.device("cpu")
    with ranks(cpu) as members:
        run(
            task,
            chosen.model,
            chosen.train,
            sets,
            Path(output),
            Path(states),
            pixel_distance(list(sets.values())[-1]),
            {"metric": "pixel_distance"},
            cpu,
            members,
            git={},
            observers=[Announce()],
            mirror=os.environ.get("MIRROR"),
        )


def _task(chosen: Settings) -> type[Task]:
    """The task of the settings, or of the tests; this file runs as a script, too, which finds no other of the tests' modules."""
    if os.environ.get("TASK") != "twins":
        return find(chosen.model.task)
    from tests.support.twins import Twins

    return Twins


def command(*arguments: str) -> None:
    """`main` with the exit code and the message of a command."""
    try:
        main(*arguments)
    except AtelierError as error:
        tell(str(error))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    command(*sys.argv[1:])
