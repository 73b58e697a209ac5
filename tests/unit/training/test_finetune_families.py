"""Fine-tuning of every family: classes are mapped by name, frozen stages stay, and the first step goes on from the parent."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from atelier.config.settings import Settings
from atelier.config.training import FinetuneSettings
from atelier.data.packed import PackedDataset
from atelier.networks.layers import ClassEmbedding, class_rows
from atelier.tasks.generation.task import Generation
from atelier.training.checkpoint import PretrainedModel
from atelier.training.distributed import Ranks
from atelier.training.run import run
from tests.support.driver import FAMILIES, pixel_distance, tiny

CPU = torch.device("cpu")


def settings(family: str) -> Settings:
    """The family's tiny networks; what its training is told goes for fine-tuning too."""
    mirrored = [one.replace("train.", "finetune.", 1) for one in FAMILIES[family] if one.startswith("train.")]
    short = ["images=64", "batch=32", "freeze_discriminator=1", "on_alarm=warn"]
    mirrored += [f"finetune.{one}" for one in short]
    return tiny(*FAMILIES[family], *mirrored, "train.images=320")


@pytest.mark.parametrize("family", FAMILIES)
def test_finetuning_with_frozen_stages_and_other_classes(family: str, digits: PackedDataset, tmp_path: Path) -> None:
    chosen = settings(family)
    measure = pixel_distance(digits)
    base, child = tmp_path / "base", tmp_path / "child"
    run(Generation, chosen.model, chosen.train, {"data": digits}, base, tmp_path / "states", measure, {}, CPU, Ranks(), git={})
    start = PretrainedModel(base)
    start.check(Generation, chosen.model, chosen.train, {"data": digits})
    other = PackedDataset(digits.folder)
    other.classes = ["new", *reversed(digits.classes[1:])]

    torch.manual_seed(5)
    assert isinstance(chosen.finetune, FinetuneSettings)
    task = Generation(chosen.model, chosen.finetune, start.info.shape)
    fresh = {name: network.state_dict() for name, network in task.networks.items()}
    average = Generation(chosen.model, chosen.finetune, start.info.shape).generator
    (remark,) = start.load(task, {"generator": average}, {"data": other})
    assert remark.startswith("1 of 10 classes are new to the generator: new (it knows ")
    saved = load_file(base / "networks.safetensors")
    for name, network in task.networks.items():
        rows = class_rows(network)
        assert bool(rows) == any(isinstance(module, ClassEmbedding) for module in network.modules()) and rows
        for key, now in network.state_dict().items():
            then = saved[f"{name}.{key}"]
            if key not in rows:
                assert torch.equal(now, then), key
            else:
                assert torch.equal(now[1:], then[1:].flip(0)) and torch.equal(now[0], fresh[name][key][0]), key

    run(
        Generation,
        chosen.model,
        chosen.finetune,
        {"data": other},
        child,
        tmp_path / "states",
        measure,
        {},
        CPU,
        Ranks(),
        git={},
        start=start,
    )
    moved = load_file(child / "networks.safetensors")
    frozen = {id(p) for p in task.discriminator.freezable_stages()[0].parameters()}
    names = [f"discriminator.{name}" for name, p in task.discriminator.named_parameters() if id(p) in frozen]
    assert names and all(torch.equal(moved[name], saved[name]) for name in names)
    free = [f"discriminator.{name}" for name, p in task.discriminator.named_parameters() if id(p) not in frozen]
    assert any(not torch.equal(moved[name], saved[name]) for name in free)
