"""What a save holds is all that the next step depends on, on the CPU and on a GPU."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from atelier.data.packed import PackedDataset
from atelier.networks.layers import ImageShape
from atelier.tasks.generation import Generation
from atelier.training import state
from atelier.training.distributed import Ranks
from atelier.training.loop import Trainer
from atelier.training.state import RunFolder, StateError
from driver import FAMILIES, pixel_distance, tiny

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
DEVICES = [pytest.param("cpu"), pytest.param("cuda", marks=NO_GPU)]


def trainer(family: str, seed: int, data: PackedDataset, folder: Path, device: str) -> Trainer:
    torch.manual_seed(seed)
    chosen = tiny(*FAMILIES[family])
    shape = ImageShape(data.resolution, data.channels, len(data.classes))
    task = Generation(chosen.model, chosen.train, shape)
    run = RunFolder(folder, "k" * 16)
    return Trainer(task, chosen.train, data, run, pixel_distance(data), torch.device(device), Ranks())


def held(one: Trainer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Every tensor and every value that the next step reads, except what the settings say."""
    players = one.task.players
    tensors = {f"{name}.{key}": value for name, net in players.items() for key, value in net.state_dict().items()}
    tensors |= {f"average.{key}": value for key, value in one.average.state_dict().items()}
    tensors |= {f"optimiser.{key}": value for key, value in state.optimiser_tensors(one.optimisers, players).items()}
    tensors |= {f"random.{key}": value for key, value in state.random_state(one.device).items()}
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


def test_the_best_of_every_kept_save_is_kept(tmp_path: Path) -> None:
    """Whoever removes a damaged newest save goes on from the one before, whose best may be another."""
    folder = RunFolder(tmp_path, "k" * 16)
    for step, best in ((5, 5), (10, 10), (15, 10), (20, 20)):
        state.write(folder.step(step), {}, {"run_key": folder.key, "best": {"step": best}})
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
    state.write(folder.step(5), {"networks": {}}, {"run_key": folder.key})
    with pytest.raises(StateError, match=r"step-000000005: damaged training state .*remove this folder"):
        state.read(folder.step(5), folder.key)
