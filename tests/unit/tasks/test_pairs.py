"""Tasks that learn from label maps: what is measured and shown of them, and what they refuse."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from atelier.config.section import SettingsError
from atelier.data.packed import PackedDataset
from atelier.networks.base import Translator
from atelier.networks.inputs import LabelMap
from atelier.tasks.base import Task
from atelier.tasks.find import find
from atelier.tasks.pairs import PairsTask
from atelier.tasks.records import RecordSampler
from atelier.training.batches import Batches, FixedExamples
from tests.support.translation_fixtures import COLORS, SIDE, drawings
from tests.support.translation_tasks import CLASSES, MAPPED, built, chosen

__all__ = ["drawings"]
COUNT = 12
PALETTE = np.array([[int(COLORS[name][at : at + 2], 16) for at in (1, 3, 5)] for name in CLASSES])


def of(name: str, drawings: dict[str, Path], pairs: str = "labels", *overrides: str) -> PairsTask:
    """A task as a run builds it."""
    settings = chosen(name, *overrides)
    torch.manual_seed(0)
    task = find(settings.model.task).build(settings.model, settings.train, {"data": PackedDataset(drawings[pairs])})
    assert isinstance(task, PairsTask)
    return task


def sampler(task: PairsTask, given: PackedDataset, seed: int = 3) -> RecordSampler:
    return RecordSampler(task.generator.eval(), [], given, given, COUNT, seed)


@pytest.mark.parametrize("name", MAPPED)
def test_images_are_measured_beside_their_label_maps(name: str, drawings: dict[str, Path]) -> None:
    task, held_out = of(name, drawings), PackedDataset(drawings["labels"], "test")
    assert [*task.generator.takes] == ["noise", "map"]
    made = sampler(task, held_out)
    found = [*made(5)]
    images, targets, maps = (np.concatenate([getattr(one, part) for one in found]) for part in ("images", "target", "input"))
    assert maps.shape == (COUNT, 1, SIDE, SIDE) and {*np.unique(maps)} == {0, 1, 2}
    assert made.palette is not None and (made.palette == PALETTE).all()
    disc, ground, rim = (np.moveaxis(targets, 1, -1)[maps[:, 0] == index] for index in range(3))
    assert (ground == 255).all() and (disc < 255).all() and len(rim), "targets are those of the maps"
    with torch.no_grad():
        expected = task.generator(made.drawn["noise"], map=torch.from_numpy(maps[:, 0]).long())
    np.testing.assert_allclose(images, ((expected + 1) * 127.5).numpy(), atol=0.51)
    others = np.concatenate([one.images for one in sampler(task, held_out, seed=4)(5)])
    assert (others != images).any()


@pytest.mark.parametrize(("pairs", "first", "why"), [("pairs", "disc", "holds pictures"), ("labels", "face", "of face,")])
def test_another_sort_of_input_is_refused(pairs: str, first: str, why: str, drawings: dict[str, Path]) -> None:
    task = of("oasis", drawings)
    kind = task.generator.takes["map"]
    assert isinstance(kind, LabelMap)
    task.generator.takes["map"] = kind.model_copy(update={"classes": [first, *kind.classes[1:]]})
    with pytest.raises(SettingsError, match=why):
        sampler(task, PackedDataset(drawings[pairs], "test"))


def probed(task: Task, drawings: dict[str, Path]) -> tuple[dict[str, float], np.ndarray]:
    """The curves of untrained networks, and the cells of the preview uint8 [rows, 10, SIDE, SIDE, 3]."""
    data = PackedDataset(drawings["labels"])
    probe = task.probe(FixedExamples(Batches({"data": data}, 0, torch.device("cpu")), stream=2))
    averages = {"generator": task.networks["generator"].eval()}
    curves = probe.measure(averages)
    assert curves.keys() == {*probe.curves}
    with Image.open(io.BytesIO(probe.preview(averages))) as file:
        pixels = np.asarray(file.convert("RGB"))[::2, ::2]
    rows = -(-len(pixels) // (SIDE + 1))
    whole = np.pad(pixels, ((0, rows * (SIDE + 1) - len(pixels)), (0, 1), (0, 0)))
    return curves, whole.reshape(rows, SIDE + 1, 10, SIDE + 1, 3).transpose(0, 2, 1, 3, 4)[:, :, :SIDE, :SIDE]


@pytest.mark.parametrize("name", MAPPED)
def test_the_probe_shows_each_map_with_two_images_of_it(name: str, drawings: dict[str, Path]) -> None:
    task = of(name, drawings)
    _spread(task.generator)
    curves, cells = probed(task, drawings)
    maps, first, second, targets = cells[:4]
    assert {tuple(color) for color in maps.reshape(-1, 3)} == {tuple(color) for color in PALETTE}
    ground = (maps == 255).all(axis=-1)
    assert (targets[ground] == 255).all() and (targets[~ground] < 255).any()
    assert (first != second).any() and curves["noise_diversity"] > 0
    assert len(cells) == 12 and not math.isnan(curves["l1_held_out"])


def test_the_probe_sees_that_noise_is_ignored(drawings: dict[str, Path]) -> None:
    task = of("spade", drawings)
    assert isinstance(task.generator.linear, nn.Linear)
    _spread(task.generator)
    nn.init.zeros_(task.generator.linear.weight)
    curves, cells = probed(task, drawings)
    assert curves["noise_diversity"] == 0 and (cells[1] == cells[2]).all()


def _spread(generator: Translator) -> None:
    """First weights are so small that all images are gray."""
    for parameter in generator.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.5 * parameter[0].numel() ** -0.5)


@pytest.mark.parametrize(
    ("name", "pairs", "overrides", "why"),
    [
        ("oasis", "pairs", [], "kind: map"),
        ("oasis", "labels", ["train.objective=hinge"], "objective: nonsaturating"),
        ("oasis", "labels", ["train.regularizers={r1: 1.0}"], "regularizers: r1"),
        ("oasis", "labels", ["train.augment=diffaugment"], "augment: none"),
        ("oasis", "labels", ["model.architecture=spade", "model.spade={doublings: 3, layers_discriminator: 2}"], "choose oasis"),
        (
            "spade",
            "labels",
            ["model.architecture=oasis", "model.oasis={doublings: 3, layers_discriminator: 3}"],
            "task: semantic",
        ),
    ],
)
def test_refusals(name: str, pairs: str, overrides: list[str], why: str, drawings: dict[str, Path]) -> None:
    with pytest.raises(SettingsError, match=why):
        of(name, drawings, pairs, *overrides)


def test_lines_are_translated_by_networks_of_label_maps_too(drawings: dict[str, Path]) -> None:
    task = of("spade", drawings, "pairs")
    assert [*task.generator.takes] == ["noise", "image"]
    assert sampler(task, PackedDataset(drawings["pairs"], "test")).palette is None
    assert built("spade").networks.keys() == task.networks.keys()
