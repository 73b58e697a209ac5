"""Fine-tuning where sets and products are several: from a checkpoint folder, from one product alone, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from atelier.config.data import DataSettings
from atelier.config.section import SettingsError
from atelier.config.settings import Settings
from atelier.data.packed import PackedDataset
from atelier.models.model import GeneratorError, GeneratorInfo, load_generator
from atelier.tasks.base import Task
from atelier.tasks.find import find
from atelier.training.checkpoint import PretrainedModel, read_history
from atelier.training.distributed import Ranks
from atelier.training.run import run
from tests.support.packing import quietly
from tests.support.translation_fixtures import SIDE, drawing, drawings, learnt_from
from tests.support.translation_tasks import chosen

__all__ = ["drawings"]
BRIEF = ("train.images=8", "finetune.images=8")
A_TO_B, B_TO_A = "a_to_b", "b_to_a"
Sets = dict[str, PackedDataset]


def trained(settings: Settings, sets: Sets, folder: Path, start: PretrainedModel | None = None) -> dict[str, GeneratorInfo]:
    """Trains without measurements, in folder/model."""

    def measure(averages: Mapping[str, nn.Module]) -> tuple[float, dict[str, Any]]:
        return float(len(averages)), {"identity": {"metric": "products"}, "metrics": {}}

    section = settings.finetune if start else settings.train
    assert section
    return run(
        find(settings.model.task), settings.model, section, sets, folder / "model", folder / "states", measure, {},
        torch.device("cpu"), Ranks(), git={}, start=start,
    )  # fmt: skip


def begun(settings: Settings, sets: Sets, start: PretrainedModel) -> tuple[Task, dict[str, nn.Module], list[str]]:
    """A task with the weights of a checkpoint, the averages of its products, and what is remarked."""
    assert settings.finetune
    task = find(settings.model.task).build(settings.model, settings.finetune, sets)
    averages: dict[str, nn.Module] = {one.name: copy.deepcopy(task.networks[one.network]) for one in task.products}
    return task, averages, start.load(task, averages, sets)


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.fixture(name="outlines")
def outlines_fixture(data_settings: Callable[..., DataSettings], encode: Callable[..., bytes], tmp_path: Path) -> PackedDataset:
    """A set of gray pictures."""
    (tmp_path / "raw").mkdir()
    for number in range(12):
        (tmp_path / "raw" / f"{number}.png").write_bytes(encode(drawing(number, square=False)[1]))
    settings = data_settings(source="folder", path=str(tmp_path / "raw"), channels=1, resolution=SIDE, holdout=0.0, labels=False)
    quietly(settings, tmp_path / "outlines", workers=1)
    return PackedDataset(tmp_path / "outlines")


def test_each_product_is_compared_with_the_set_that_it_imitates(
    outlines: PackedDataset, drawings: dict[str, Path], tmp_path: Path
) -> None:
    """Gray pictures on one side, colored ones on the other."""
    weights = (f"{section}.translation={{pool: 6, identity: 0}}" for section in ("train", "finetune"))
    settings = chosen("cyclegan", "data.base.channels=1", *BRIEF, *weights)
    sets = {"a": outlines, "b": PackedDataset(drawings["b"])}
    trained(settings, sets, tmp_path / "base")
    start = PretrainedModel(tmp_path / "base" / "model")
    infos = trained(settings, sets, tmp_path / "child", start)
    assert {name: info.channels for name, info in infos.items()} == {A_TO_B: 3, B_TO_A: 1}
    with pytest.raises(SettingsError, match=r"takes pictures of 1 channels, but .* holds pictures of 3 channels"):
        trained(settings, learnt_from("cyclegan", drawings), tmp_path / "other", start)


def test_from_one_product_alone_the_way_back_begins_as_its_network_was(drawings: dict[str, Path], tmp_path: Path) -> None:
    """A registered version is one product; its networks are all of them."""
    settings, sets = chosen("cyclegan", *BRIEF), learnt_from("cyclegan", drawings)
    trained(settings, sets, tmp_path / "base")
    part = tmp_path / "base" / "model" / A_TO_B
    networks = load_file(part / "networks.safetensors")
    parent = load_generator(part)

    task, averages, remarks = begun(settings, sets, PretrainedModel(part))
    assert same(averages[A_TO_B].state_dict(), parent.state_dict())
    back = {key.removeprefix("b_to_a."): value for key, value in networks.items() if key.startswith("b_to_a.")}
    assert same(averages[B_TO_A].state_dict(), back) and same(task.networks[B_TO_A].state_dict(), back)
    assert remarks == [f"{part} has no average of b_to_a, which begins as its network was"]

    infos = trained(settings, sets, tmp_path / "child", PretrainedModel(part))
    assert [info.parent and info.parent["sha256"] for info in infos.values()] == [parent.sha256] * 2
    assert not begun(settings, sets, PretrainedModel(tmp_path / "base" / "model"))[2]


def test_losses_that_need_networks_which_the_base_has_not_are_refused(drawings: dict[str, Path], tmp_path: Path) -> None:
    settings, sets = chosen("cut", *BRIEF, "finetune.translation={pool: 6}"), learnt_from("cut", drawings)
    trained(settings, sets, tmp_path)
    with pytest.raises(GeneratorError, match=r"without the network b_to_a \(.*patches.* are there\); set the losses of section"):
        begun(settings, sets, PretrainedModel(tmp_path / "model"))


def test_label_maps_of_other_classes_are_refused(drawings: dict[str, Path], tmp_path: Path) -> None:
    """Their number is the same, so that the weights would fit and mean something else."""
    settings, sets = chosen("oasis", *BRIEF), learnt_from("oasis", drawings)
    trained(settings, sets, tmp_path)
    other = PackedDataset(drawings["labels"])
    other.fields["input"] = other.fields["input"].model_copy(update={"classes": ["circle", "paper", "pen"]})
    with pytest.raises(SettingsError, match=r"takes label maps of disc, ground, rim, but .* of circle, paper, pen"):
        trained(settings, {"data": other}, tmp_path / "child", PretrainedModel(tmp_path / "model"))


def test_few_pictures_without_held_out_ones_can_be_learnt_from(
    outlines: PackedDataset, drawings: dict[str, Path], tmp_path: Path
) -> None:
    """Fewer of them than the probe shows, which then looks at training pictures."""
    settings = chosen("cyclegan", "data.target.channels=1", "train.images=16", "train.translation={pool: 6, identity: 0}")
    infos = trained(settings, {"a": PackedDataset(drawings["a"]), "b": outlines}, tmp_path)
    assert len(outlines) < 64 and {info.images_seen for info in infos.values()} == {16}
    (point,) = read_history(tmp_path / "model" / A_TO_B)["points"]
    assert all(np.isfinite(point[curve]) for curve in ("diversity", "mode_coverage", "cycle_error", "brightness_kept"))
