"""The engine beside a loop as public code bases write it, on the same images and draws: its speed changes rounding only."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from atelier.config.settings import Settings
from atelier.data.packed import PackedDataset
from atelier.networks.base import LatentGenerator, Network
from atelier.tasks.base import Update
from atelier.tasks.generation.task import Generation, GenerationDraws
from atelier.training.batches import Batches
from benchmarks.plain_loop import PlainLoop
from tests.support.driver import FAMILIES, pixel_distance, tiny
from tests.support.runs import train

CPU = torch.device("cpu")
STEPS, BATCH = 3, 16
# What the plain loop knows: constant rates and weights, one step each, no augmentation, no regularizers but R1 and R2.
PLAIN = [
    *("precision=float32", "augment=none", f"batch={BATCH}", f"images={STEPS * BATCH}", "evaluate_from=1.0"),
    *("ema_ramp=0.0", "ema_half_life=50"),
    *("lr_final=1.0", "penalty_final=1.0", "penalty_every=1", "beta2=0.99", "beta2_final=0.99", "critic_steps=1", "balance=none"),
    *("clip=0.0", "regularizers={}"),
]
CASES = {
    "mlp": ["train.objective=nonsaturating", "train.regularizers.r1=1.0", "train.regularizers.r2=0.0"],
    "dcgan": ["train.objective=relativistic", "train.regularizers.r1=1.0", "train.regularizers.r2=0.5"],
    "resnet": ["train.objective=hinge", "model.resnet.dropout=0.0"],
    "sagan": ["train.objective=hinge"],
    "biggan": ["train.objective=hinge", "model.biggan.scales=1"],
    "stylegan2": ["train.objective=nonsaturating", "train.regularizers.r1=2.0", "model.stylegan2.mixing=0.0"],
    "r3gan": ["train.objective=relativistic", "train.regularizers.r1=1.0", "train.regularizers.r2=1.0"],
}


class Replay(PlainLoop):
    """The plain loop from the networks with which the engine began, on its images and latents."""

    def __init__(self, settings: Settings, data: PackedDataset, began: dict[str, Network], draws: list[GenerationDraws]) -> None:
        super().__init__(settings, data, CPU)
        self.generator.load_state_dict(began["generator"].state_dict())
        self.discriminator.load_state_dict(began["discriminator"].state_dict())
        self.average.load_state_dict(began["generator"].state_dict())
        self.draws = iter(draws)
        feed = Batches({"data": data}, settings.train.seed, CPU)
        for step in range(STEPS):
            batches = [feed.batch(stream, step * BATCH, BATCH, prefetch_start=0) for stream in range(2)]
            first, second = ((batch["image"].contiguous(), batch["label"]) for batch in batches)
            self.step(first, second)

    def _generator_pass(self, label: Tensor) -> Tensor:
        drawn = next(self.draws)
        self.generator.power_iteration()
        return self.generator(drawn.latents, label, drawn.noise)


def engine(
    settings: Settings, data: PackedDataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Network], dict[str, Network], list[GenerationDraws]]:
    """A run of the engine: the networks and the average after it, the networks with which it began, and its draws."""
    ended, began, drawn = dict[str, Network](), dict[str, Network](), list[GenerationDraws]()
    draw = Generation.draw

    def recorded(task: Generation, update: Update, count: int) -> GenerationDraws:
        if not drawn:
            ended.update(task.networks)
            began.update(copy.deepcopy(task.networks))
        drawn.append(draw(task, update, count))
        return drawn[-1]

    def measure(averages: Mapping[str, torch.nn.Module]) -> tuple[float, dict[str, Any]]:
        assert isinstance(averages["generator"], LatentGenerator)
        ended["average"] = copy.deepcopy(averages["generator"])
        return pixel_distance(data)(averages)

    monkeypatch.setattr(Generation, "draw", recorded)
    train(settings, data, folder, measure)
    return ended, began, drawn


@torch.no_grad()
def says(network: Network, drawn: GenerationDraws, data: PackedDataset) -> Tensor:
    """Images of a generator, or the logits of a discriminator on real images, on one batch. Batch norm goes by the batch."""
    shown = Batches({"data": data}, 1, CPU).batch(0, 0, BATCH, prefetch_start=0)
    network.train()
    if isinstance(network, LatentGenerator):
        return network(drawn.latents, shown["label"], drawn.noise)
    return network(shown["image"], shown["label"]).logits


@pytest.mark.parametrize("family", CASES)
def test_the_engine_changes_rounding_only(
    family: str, digits: PackedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images and logits differ by less than a thousandth of what the steps changed of them, or a hundredth where norms are many.

    Weights are not compared, since those of a bias before a batch norm move by nothing but rounding, which Adam makes large.
    """
    settings = tiny(*FAMILIES[family], *(f"train.{one}" for one in PLAIN), *CASES[family])
    ended, began, drawn = engine(settings, digits, tmp_path, monkeypatch)
    plain = Replay(settings, digits, began, drawn)
    for name, theirs in (("discriminator", plain.discriminator), ("generator", plain.generator), ("average", plain.average)):
        before, after, ours = (
            says(network, drawn[0], digits) for network in (began.get(name, began["generator"]), theirs, ended[name])
        )
        assert (ours - after).norm() < (0.01 if family in ("biggan", "resnet") else 0.001) * (after - before).norm(), name
