"""What a save holds is all that the next step depends on, on the CPU and on a GPU."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from atelier.data.packed import PackedDataset
from atelier.training import clock, states
from atelier.training.states import STATE, RunFolder, StateError
from atelier.training.trainer import Trainer
from tests.support.devices import DEVICES
from tests.support.driver import FAMILIES
from tests.support.trainers import trainer


def held(one: Trainer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Every tensor and every value that the next step reads, except what the settings say."""
    networks = one.task.networks
    tensors = {f"{name}.{key}": value for name, net in networks.items() for key, value in net.state_dict().items()}
    tensors |= {f"average.{key}": value for key, value in one.averages["generator"].state_dict().items()}
    tensors |= {f"optimizer.{key}": value for key, value in one.learner.tensors()["optimizers"].items()}
    tensors |= {f"random.{key}": value for key, value in states.random_state(one.device).items()}
    values = {"step": one.step, "ada": one.ada.state_dict(), "meters": [one.meter.state(), one.signal.state()]}
    return {key: value.detach().clone() for key, value in tensors.items()}, values


def assert_equal(found: tuple[dict[str, Tensor], dict[str, Any]], expected: tuple[dict[str, Tensor], dict[str, Any]]) -> None:
    assert found[1] == expected[1] and found[0].keys() == expected[0].keys()
    for name, tensor in expected[0].items():
        assert (found[0][name].device, found[0][name].dtype) == (tensor.device, tensor.dtype), name
        assert torch.equal(torch.nan_to_num(found[0][name]), torch.nan_to_num(tensor)), name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_restored_run_is_the_saved_one_and_goes_on_alike(
    family: str, device: str, digits: PackedDataset, tmp_path: Path
) -> None:
    saved = trainer(family, 0, digits, tmp_path, device)
    for _ in range(6):
        saved._step()
    saved._save()
    at_save = held(saved)
    for _ in range(6):
        saved._step()
    later = held(saved)
    restored = trainer(family, 1, digits, tmp_path, device)
    random.random(), np.random.rand(), torch.rand(1, device=device)  # noqa: NPY002 - another process, other random states
    newest = restored.folder.newest()
    assert newest is not None
    restored._restore(newest)
    assert_equal(held(restored), at_save)
    for _ in range(6):
        restored._step()
    if device == "cpu":  # a GPU's sums have no fixed order
        assert_equal(held(restored), later)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time that clocks read."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return lambda seconds: setattr(now, "seconds", seconds)


def test_what_a_run_costs_adds_up_over_its_interruptions(
    digits: PackedDataset, tmp_path: Path, at: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came since the last save is lost with a killed process; another machine has an entry of its own."""
    at(100)
    first = trainer("mlp", 0, digits, tmp_path, "cpu")
    for seconds in (107, 112):
        first._step()
        at(seconds)
        first._save()
    at(1000)  # killed long after its last save

    def resumed() -> Trainer:
        one = trainer("mlp", 0, digits, tmp_path, "cpu")
        newest = one.folder.newest()
        assert newest is not None
        one._restore(newest)
        one._step()
        return one

    at(5000)
    second = resumed()
    at(5004)
    second._save()
    monkeypatch.setattr(clock, "CPU_INFO", tmp_path / "cpuinfo")
    clock.CPU_INFO.write_text("processor : 0\nmodel name\t: Another CPU 3000\n")
    at(6000)
    third = resumed()
    at(6001)
    third._save()
    here, there = third.history.values["compute"]
    assert (here["seconds"], there["seconds"]) == (16, 1)
    assert there == {**here, "device": "Another CPU 3000", "seconds": 1}
    assert here == {
        "kind": "cpu",
        "device": first.clock.hardware["device"],
        "ranks": 1,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "watts": None,
        "seconds": 16,
    }


def test_a_state_from_before_costs_were_counted_goes_on(digits: PackedDataset, tmp_path: Path) -> None:
    saved = trainer("mlp", 0, digits, tmp_path, "cpu")
    saved._step()
    saved._save()
    newest = saved.folder.newest()
    assert newest is not None
    values = json.loads((newest / "state.json").read_text())
    del values["history"]["compute"], values["sha256"]
    (newest / "state.json").write_text(json.dumps(values))
    restored = trainer("mlp", 1, digits, tmp_path, "cpu")
    restored._restore(newest)
    assert restored.step == 1 and restored.history.values == {"points": [], "evaluations": [], "alarms": [], "compute": []}
    restored._save()
    assert len(restored.history.values["compute"]) == 1


@pytest.mark.parametrize(
    ("name", "script", "watts"),
    [
        ("NVIDIA H100 80GB HBM3", '[ "$1" = --id=GPU-1a2b ] && echo 700.00', 700.0),
        ("NVIDIA GRID", "echo '[N/A]'", None),
        ("NVIDIA H100", "echo 'No devices were found'; exit 6", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "echo 700.00", None),
        ("NVIDIA H100", None, None),
    ],
)
def test_a_gpu_is_recorded_with_its_power_limit(
    name: str, script: str | None, watts: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1a2b"))
    hardware = clock.Clock(torch.device("cuda", 0), ranks=4).hardware
    assert (hardware["kind"], hardware["device"], hardware["ranks"], hardware["watts"]) == ("cuda", name, 4, watts)


def test_the_best_of_every_kept_save_is_kept(tmp_path: Path) -> None:
    """Whoever removes a damaged newest save goes on from the one before, whose best may be another."""
    folder = RunFolder(tmp_path, "k" * 16)
    for step, best in ((5, 5), (10, 10), (15, 10), (20, 20)):
        states.write(folder.step(step), {}, {"run_key": folder.key, "best": {"step": best}})
        folder.prune(best)
    assert sorted(int(save.name.removeprefix("step-")) for save in folder.path.glob("step-*")) == [10, 15, 20]


def test_a_finished_run_goes_when_another_starts_but_not_while_it_is_locked(tmp_path: Path) -> None:
    first, second, third = (RunFolder(tmp_path, key * 16) for key in "abc")
    with first.lock():
        first.mark_finished({"step": 1}, {"points": []})
        (first.path / ".step-000000001.tmp").mkdir()
        with second.lock():
            assert first.path.exists()
    with first.lock():
        assert not list(first.path.glob(".step-*"))
    with third.lock():
        assert not first.path.exists() and second.path.exists()


def test_a_save_that_lacks_a_part_is_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "k" * 16)
    states.write(folder.step(5), {"networks": {}, "random": {}}, {"run_key": folder.key})
    (folder.step(5) / "random.safetensors").unlink()
    with pytest.raises(StateError, match=r"step-000000005: damaged training state .*remove this folder"):
        states.read(folder.step(5), folder.key)


@pytest.mark.parametrize("name", ["networks.safetensors", "optimizers.safetensors", "random.safetensors", "state.json"])
def test_a_save_in_which_a_bit_was_flipped_is_refused(name: str, digits: PackedDataset, tmp_path: Path) -> None:
    saved = trainer("mlp", 0, digits, tmp_path, "cpu")
    saved._step()
    saved._save()
    newest = saved.folder.newest()
    assert newest is not None
    content = (newest / name).read_bytes()
    place = content.index(b'"step": 1') + 8 if name == STATE else len(content) - 3
    (newest / name).write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
    with pytest.raises(StateError, match=rf"{newest.name}/{name}: damaged, its sha256 is .* remove this folder"):
        states.read(newest, saved.folder.key)
