"""A training that fails is named while there is time, and a healthy one is left alone."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atelier.data.packed import PackedDataset
from atelier.training.alarms import TrainingStopped
from atelier.training.history import Observer
from atelier.training.preemption import Preempted
from tests.support.alarms import assert_healthy, digits_settings, train

# --- and healthy


@pytest.mark.parametrize("seed", range(2))
def test_healthy_runs_raise_no_alarm(seed: int, digits: PackedDataset, tmp_path: Path) -> None:
    """More seeds: `make test-families`."""
    assert_healthy(seed, digits, tmp_path)


# --- what follows


def test_on_alarm_warn_goes_on(digits: PackedDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    history = train(digits_settings("train.lr_generator=0.5", "train.lr_discriminator=0.5"), digits, tmp_path)
    first = history["alarms"][0]
    assert first["kind"] == "divergence" and first["images"] < 16000 and "went on" in first["done"]
    assert f"divergence at {first['images']} images" in caplog.text and history["points"][-1]["images"] == 32000
    assert len(history["alarms"]) < 8  # each is given time to pass


@pytest.fixture
def sigterm() -> Iterator[None]:
    """Preempted leaves SIGTERM ignored, which the processes of other tests would inherit."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


class Interrupted(Observer):
    """A SIGTERM as soon as there was an alarm."""

    def alarmed(self, alarm: dict[str, Any]) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("sigterm")
def test_rolled_back_a_run_goes_on_at_lower_rates_and_ends_well(digits: PackedDataset, tmp_path: Path) -> None:
    """From the start, since nothing was measured yet; stopped and started again it ends with the same bytes."""
    chosen = digits_settings(
        "train.lr_generator=0.04", "train.lr_discriminator=0.04", "train.on_alarm=roll_back", "train.images=64000"
    )
    history = train(chosen, digits, tmp_path / "whole")
    assert 0 < len(history["alarms"]) <= 3
    assert all(
        re.match(r"rolled back to \d+ images, with lr_discriminator at 0\.\d+ of", one["done"]) for one in history["alarms"]
    )
    last = history["points"][-1]
    assert last["mode_coverage"] > 0.5 and last["loss_discriminator"] < 2
    for _ in history["alarms"]:
        with pytest.raises(Preempted):
            train(chosen, digits, tmp_path / "halved", [Interrupted()])
    assert train(chosen, digits, tmp_path / "halved")["alarms"] == history["alarms"]
    networks = [(tmp_path / name / "model" / "networks.safetensors").read_bytes() for name in ("whole", "halved")]
    assert networks[0] == networks[1]


def test_rolled_back_three_times_it_stops(digits: PackedDataset, tmp_path: Path) -> None:
    chosen = digits_settings("train.lr_generator=0.9", "train.lr_discriminator=0.9", "train.on_alarm=roll_back")
    with pytest.raises(TrainingStopped, match="divergence"):
        train(chosen, digits, tmp_path)
    (save,) = tmp_path.glob("states/*/start/state.json")
    assert json.loads(save.read_text())["step"] == 0
