"""Less memory for the same numbers: activations that are computed again, and what a run says that does not fit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from atelier.config.section import SettingsError
from atelier.data.packed import PackedDataset
from atelier.networks.layers import ImageShape
from atelier.tasks.base import StepWeights
from atelier.tasks.generation.task import Generation
from atelier.training.checkpoint import read_history
from atelier.training.memory import OutOfMemory, naming_remedy, of_a_measurement, of_a_step
from tests.support.driver import FAMILIES, tiny
from tests.support.runs import train
from tests.support.updates import UPDATES, labeled

SHAPE, COUNT = ImageShape(28, 1, 3), 8


def kept_bytes(work: Callable[[], Any]) -> int:
    """What autograd keeps for the backward pass of what is done."""
    kept = dict[int, int]()

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        work()
    return sum(kept.values())


def updated(overrides: list[str], checkpointing: bool) -> tuple[dict[str, Tensor], int]:
    """Gradients and states of both networks after an update of each, with all penalties; and what a generator's pass keeps."""
    settings = tiny(*overrides, f"train.checkpointing={str(checkpointing).lower()}", f"train.batch={COUNT}")
    torch.manual_seed(0)
    task = Generation(settings.model, settings.train, SHAPE)
    for network in task.networks.values():
        network.advance(0.5)
    batch = labeled(torch.rand(COUNT, 1, 28, 28) * 2 - 1, torch.arange(COUNT) % SHAPE.classes)
    found = dict[str, Tensor]()
    for name in ("discriminator", "generator", "discriminator"):
        task.activate(UPDATES[name])
        draws = task.draw(UPDATES[name], COUNT)
        with torch.autocast("cpu", torch.bfloat16, settings.train.precision == "bfloat16"):
            loss, _ = task.loss(UPDATES[name], batch, draws, StepWeights(1.0, 0.5))
        loss.backward()
    for name, network in task.networks.items():
        found |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
        found |= {f"{name}.{key}.grad": p.grad for key, p in network.named_parameters() if p.grad is not None}
    task.activate(UPDATES["generator"])
    latents = torch.randn(COUNT, task.generator.latent_dim)
    kept = kept_bytes(lambda: task._generate(latents, batch["label"], task.draw(UPDATES["generator"], COUNT).noise))
    return copy.deepcopy(found), kept


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_computed_again_is_the_same_to_the_bit(family: str) -> None:
    kept, memory = updated(FAMILIES[family], False)
    again, less = updated(FAMILIES[family], True)
    assert kept.keys() == again.keys() and any(key.endswith(".grad") for key in kept)
    for key, value in kept.items():
        assert torch.equal(value, again[key]), key
    assert less == memory if family.startswith("mlp") else less < 0.75 * memory


@pytest.mark.parametrize("family", FAMILIES)
def test_the_zoo_knows_whose_micro_batches_batch_norm_sees_one_by_one(family: str) -> None:
    settings = tiny(*FAMILIES[family])
    task = Generation(settings.model, settings.train, SHAPE)
    normed = any(isinstance(part, nn.BatchNorm2d) for network in task.networks.values() for part in network.modules())
    assert task.normalized == normed


def test_compile_and_checkpointing_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match="set checkpointing: false, or compile: false"):
        tiny("train.checkpointing=true", "train.compile=true")


def test_a_run_that_does_not_fit_names_the_setting_and_goes_on_with_less(
    digits: PackedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = ["train.images=1280", "train.augment=none"]
    updates, loss = 0, Generation.loss

    def short(self: Generation, *args: Any) -> Any:
        nonlocal updates
        updates += 1
        if updates == 30:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return loss(self, *args)

    monkeypatch.setattr(Generation, "loss", short)
    with pytest.raises(OutOfMemory) as told:
        train(tiny(*whole), digits, tmp_path)
    assert "on 32 images at once; set train.checkpointing: true, or train.accumulate: 2, or a smaller train.batch" in str(
        told.value
    )
    assert "from the save at 320 images" in str(told.value)
    train(tiny(*whole, "train.checkpointing=true", "train.accumulate=2"), digits, tmp_path)
    assert "began with accumulate = 1 and goes on with 2" in caplog.text and "those set accumulate: 1" in caplog.text
    assert [point["images"] for point in read_history(tmp_path / "model")["points"]] == list(range(160, 1281, 160))
    assert updates == 30 + 2 * 2 * (1280 - 320) // 32


def test_a_measurement_that_does_not_fit_loses_no_step(digits: PackedDataset, tmp_path: Path) -> None:
    before = list[Tensor]()

    def too_large(_: Any) -> tuple[float, dict[str, Any]]:
        before.append(torch.get_rng_state())
        torch.randn(3)  # as a measurement may draw
        with naming_remedy(lambda: of_a_measurement(64)):
            torch.empty(2**56)
        raise AssertionError

    settings = tiny("train.save_every=4096")
    states = tmp_path / "states"
    with pytest.raises(OutOfMemory, match=r"evaluate\.batch: 32"):
        train(settings, digits, tmp_path, too_large)
    (save,) = states.glob("*/step-*")
    assert int(save.name.removeprefix("step-")) * 32 >= 0.2 * 4096
    assert torch.equal(load_file(save / "random.safetensors")["torch"], before[0])


def test_the_remedies_are_those_that_are_left() -> None:
    settings = tiny("train.batch=6", "train.accumulate=2", "train.checkpointing=true").train
    told = of_a_step(settings, normalized=True, saved=-1)
    anew = "(its means over a micro-batch make that a new run)"
    assert f"on 3 images at once; set train.accumulate: 3 {anew}, or a smaller train.batch" in told
    assert told.endswith("from the beginning")
    assert "checkpointing" not in told


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), naming_remedy(lambda: "no remedy"):
        raise RuntimeError("shapes do not match")
