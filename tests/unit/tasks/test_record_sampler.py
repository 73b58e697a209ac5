"""The records that translators are measured by: the same for each of them, and each with what should come of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from atelier.config.section import SettingsError
from atelier.data.packed import PackedDataset
from atelier.networks.base import Generator
from atelier.networks.inputs import Noise, Picture, Takes
from atelier.tasks.records import RecordSampler
from atelier.tasks.sampling import Sample
from tests.support.small_translators import label_map
from tests.support.translation_fixtures import COUNT, HELD_OUT, drawings
from tests.support.translation_tasks import CLASSES

__all__ = ["drawings"]


class Inverting(Generator):
    """Turns pictures around, the more the larger the mean of its noise is, if it takes any."""

    def __init__(self, noise: int = 0) -> None:
        super().__init__()
        self.noise, self.weight = noise, nn.Parameter(-torch.ones(()))

    @property
    def takes(self) -> Takes:
        drawn: Takes = {"noise": Noise(size=self.noise, truncation=False)} if self.noise else {}
        return {**drawn, "image": Picture(channels=3, resolution=32)}

    def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        return image * self.weight * (1 if noise is None else noise.mean(dim=1).tanh()[:, None, None, None])


@pytest.fixture(name="sets")
def sets_fixture(drawings: dict[str, Path]) -> dict[str, PackedDataset]:
    return {name: PackedDataset(folder, "test") for name, folder in drawings.items()}


def joined(samples: Iterable[Sample]) -> list[np.ndarray]:
    """Images, inputs and, where there are any, targets."""
    parts = zip(*samples, strict=True)
    return [np.concatenate(part) for part in parts if part[0] is not None]


def sampler(generator: Generator, sets: dict[str, PackedDataset], count: int = 11, seed: int = 3) -> RecordSampler:
    return RecordSampler(generator, [], sets["b"], sets["a"], count, seed)


def test_every_generator_is_given_the_same_records(sets: dict[str, PackedDataset]) -> None:
    inverted, given = joined(sampler(Inverting(), sets)(4))
    assert (inverted.astype(int) + given == 255).all(), "each image is made from the record beside it"
    generator = Inverting()
    nn.init.ones_(generator.weight)
    made, again = joined(sampler(generator, sets)(4))
    assert (again == given).all() and (made == given).all()
    known = {record.tobytes() for record in sets["a"].images(np.arange(len(sets["a"])))}
    shown = [record.tobytes() for record in given]
    assert len({*shown}) == len(shown) == 11 and {*shown} <= known, "different ones, held out of training"
    others = joined(sampler(generator, sets, seed=4)(4))[1]
    assert [record.tobytes() for record in others] != shown


@pytest.mark.parametrize("noise", [0, 5])
def test_batches_and_ranks_change_nothing(sets: dict[str, PackedDataset], noise: int) -> None:
    generator = Inverting(noise)
    whole = joined(sampler(generator, sets)(64))
    for batch in (1, 4):
        assert all((a == b).all() for a, b in zip(whole, joined(sampler(generator, sets)(batch)), strict=True))
    turns = [list(sampler(generator, sets)(4, (rank, 2))) for rank in range(2)]
    assert [len(turn) for turn in turns] == [2, 1]
    shared = joined([turns[0][0], turns[1][0], turns[0][1]])
    assert all((a == b).all() for a, b in zip(whole, shared, strict=True))


def test_targets_belong_to_their_inputs(drawings: dict[str, Path]) -> None:
    """Also where the set is named twice, as what is imitated and as what is given."""

    class Gray(Inverting):
        @property
        def takes(self) -> Takes:
            return {"image": Picture(channels=1, resolution=32)}

        def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
            return super().forward(image.expand(-1, 3, -1, -1))

    pairs = PackedDataset(drawings["pairs"], "test")
    one = RecordSampler(Gray(), [], pairs, PackedDataset(drawings["pairs"], "test"), 9, 0)
    assert one.has_target and one.has_input
    _, targets, inputs = joined(one(4))
    records = pairs.read(np.arange(len(pairs)))
    partner = {record.tobytes(): target for record, target in zip(records["input"], records["target"], strict=True)}
    assert len(partner) == len(pairs)
    for given, target in zip(inputs, targets, strict=True):
        assert (partner[given.tobytes()] == target).all()
    for imitated in (PackedDataset(drawings["b"], "test"), PackedDataset(drawings["pairs"])):
        assert not RecordSampler(Gray(), [], imitated, pairs, 9, 0).has_target, "another set, or another part of it"


def test_no_record_is_given_twice(sets: dict[str, PackedDataset]) -> None:
    held_out = len(sets["a"])
    assert 0.5 * HELD_OUT < held_out / COUNT < 2 * HELD_OUT
    assert len(joined(sampler(Inverting(), sets, held_out)(64))[0]) == held_out
    with pytest.raises(SettingsError, match=rf"split test of .* has {held_out}; lower evaluate.samples .* raise data.NAME"):
        sampler(Inverting(), sets, held_out + 1)
    with pytest.raises(SettingsError, match=r"split train of .*; lower train.evaluate_samples \(or finetune's\)"):
        RecordSampler.check(PackedDataset(sets["a"].folder), COUNT)


@pytest.mark.parametrize(
    ("takes", "name", "said"),
    [
        ({"image": Picture(channels=1, resolution=32)}, "a", "takes pictures of 1 channels, but .* holds pictures of 3 channels"),
        (
            {"image": Picture(channels=3, resolution=32)},
            "labels",
            "pictures of 3 channels, but .* label maps of disc, gro",
        ),
        ({"map": label_map(CLASSES, 32)}, "a", "takes label maps of disc, ground, rim, but .* holds pictures of 3 channels"),
        ({"map": label_map(["rim", "disc"], 32)}, "labels", "label maps of rim, disc, but .* label maps of disc, ground, rim"),
    ],
)
def test_records_are_what_the_generator_takes(takes: Takes, name: str, said: str, sets: dict[str, PackedDataset]) -> None:
    with pytest.raises(SettingsError, match=said):
        RecordSampler.check_given(takes, sets[name])
    RecordSampler.check_given({"noise": Noise(size=2), "map": label_map(CLASSES, 32)}, sets["labels"])
