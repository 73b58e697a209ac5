from __future__ import annotations

from pathlib import Path

import pytest
import torch

from atelier.data.packed import PackedDataset
from atelier.training.schedules import cosine, ema_decay
from tests.support.trainers import trainer


def test_cosine_runs_from_start_to_end() -> None:
    assert [cosine(2.0, 1.0, progress) for progress in (-1, 0, 1, 2)] == [2.0, 2.0, 1.0, 1.0]
    assert cosine(2.0, 1.0, 0.5) == pytest.approx(1.5) and cosine(2.0, 1.0, 0.25) == pytest.approx(1 + (2 + 2**0.5) / 4)


def test_an_old_weight_counts_half_after_the_half_life() -> None:
    assert ema_decay(100, 400, 0.0, 0) ** 4 == pytest.approx(0.5)
    assert ema_decay(100, 400, 0.1, 1000) == pytest.approx(0.5), "ramp: no more than a tenth of what was seen"
    assert ema_decay(100, 400, 0.1, 100_000) == ema_decay(100, 400, 0.0, 0)


def test_the_average_follows_the_generator(digits: PackedDataset, tmp_path: Path) -> None:
    one = trainer("dcgan", 0, digits, tmp_path, "cpu")
    expected = {name: p.detach().clone() for name, p in one.averages["generator"].named_parameters()}
    for _ in range(3):
        one._step()
        keep = ema_decay(32, one.settings.ema_half_life, one.settings.ema_ramp, one.seen)
        for name, parameter in one.task.networks["generator"].named_parameters():
            expected[name] = keep * expected[name] + (1 - keep) * parameter.detach()
    for name, parameter in one.averages["generator"].named_parameters():
        torch.testing.assert_close(parameter, expected[name])
    for (name, mean), buffer in zip(
        one.averages["generator"].named_buffers(), one.task.networks["generator"].buffers(), strict=True
    ):
        assert torch.equal(mean, buffer), name


def test_rates_and_betas_follow_their_cosine(digits: PackedDataset, tmp_path: Path) -> None:
    one = trainer("mlp", 0, digits, tmp_path, "cpu")
    settings = one.settings
    for step in (0, one.steps // 2):
        one.step = step
        one._step()
        for name in ("generator", "discriminator"):
            rate = getattr(settings, f"lr_{name}")
            (group,) = one.learner.optimizers[name].param_groups
            assert group["lr"] == cosine(rate, rate * settings.lr_final, step / one.steps)
            assert group["betas"] == (settings.beta1, cosine(settings.beta2, settings.beta2_final, step / one.steps))
