"""Acting on who is ahead: the controller alone, and runs in which it has something to hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from atelier.config.section import SettingsError
from atelier.data.packed import PackedDataset
from atelier.tasks.base import Update
from atelier.tasks.generation.task import Generation
from atelier.training.balance import Balance
from tests.support.driver import tiny
from tests.support.unequal_networks import trained


def test_the_level_moves_at_constant_speed_towards_the_target_and_stays_within_its_octaves() -> None:
    balance = Balance(tiny("train.balance=rates", "train.balance_target=0.8", "train.balance_images=1000").train)
    balance.update(0.9, 500)
    assert balance.level == 0.5 and balance.rate == pytest.approx(2**-0.5)
    balance.update(0.8, 500)
    assert balance.level == 0.5
    balance.update(0.99, 100000)
    assert balance.rate == 1 / 8 and balance.point == {"discriminator_rate": 1 / 8}
    balance.update(0.5, 200000)
    assert balance.level == -3 and balance.rate == 1.0 and balance.critic_steps == 1


def test_steps_are_whole_and_at_least_one() -> None:
    settings = tiny("train.balance=steps", "train.critic_steps=3", "train.balance_images=1000", "train.log_every=4096").train
    balance = Balance(settings)
    seen = [balance.critic_steps]
    for _ in range(4):
        balance.update(0.5, 1000)
        seen.append(balance.critic_steps)
    assert seen == [3, 6, 12, 24, 24]
    balance.update(0.99, 6000)
    assert balance.critic_steps == 1 and balance.rate == 1.0


def test_no_balance_does_nothing() -> None:
    balance = Balance(tiny("train.critic_steps=2").train)
    balance.update(0.99, 10**9)
    assert (balance.level, balance.rate, balance.critic_steps, balance.point) == (0.0, 1.0, 2, {})


def test_points_hold_a_step_of_the_generator() -> None:
    with pytest.raises(SettingsError, match="set log_every to at least 256"):
        tiny("train.critic_steps=8")


def test_the_generator_waits_for_the_discriminators_steps(
    digits: PackedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates: dict[str, int] = {}
    loss = Generation.loss

    def counted(self: Generation, update: Update, *rest: object) -> object:
        updates[update.name] = updates.get(update.name, 0) + 1
        return loss(self, update, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Generation, "loss", counted)
    trained(digits, tmp_path, "train.critic_steps=5", "train.images=3200")
    assert updates == {"discriminator": 100, "generator": 20}
