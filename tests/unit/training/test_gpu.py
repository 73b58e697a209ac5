"""What a GPU does otherwise than a CPU: copies, ranks over nccl, bfloat16, compiled graphs, a lack of memory."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from atelier.config.settings import Settings
from atelier.data.packed import PackedDataset
from atelier.extractors.perceptual import _for_imagenet
from atelier.networks.layers import ImageShape
from atelier.tasks.base import StepWeights
from atelier.tasks.generation.task import Generation
from atelier.training import batches
from atelier.training.batches import Batches
from atelier.training.distributed import DistributedError, Ranks, choose_device
from atelier.training.memory import OutOfMemory
from atelier.training.states import RunFolder
from atelier.training.trainer import Trainer
from tests.support.devices import CUDA, DEVICES
from tests.support.driver import FAMILIES, pixel_distance, tiny
from tests.support.rounding import apart
from tests.support.runs import train
from tests.support.updates import labeled

COUNT = 8
AUGMENTED = [f"train.augment={name}" for name in ("none", "diffaugment", "ada")]
CONVOLUTIONS = ["dcgan", "r3gan"]


class Waits(TorchDispatchMode):
    """Counts what has the CPU wait for a GPU: copies that are not asked for as non-blocking, and numbers that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.found = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made, name = func(*args, **(kwargs or {})), func.overloadpacket.__name__
        if name == "_to_copy" and args[0].device != made.device and not (kwargs or {}).get("non_blocking"):
            self.found[f"{name} of {tuple(made.shape)}"] += 1
        if name in ("_local_scalar_dense", "nonzero", "is_nonzero"):
            self.found[name] += 1
        return made


def put_trainer(network: nn.Module) -> None:
    """Gives parameters and buffers, and nothing else, places on a GPU that holds no numbers; for use in a FakeTensorMode."""
    for part in network.modules():
        for name, parameter in part._parameters.items():
            part._parameters[name] = None if parameter is None else nn.Parameter(torch.empty_like(parameter, device="cuda"))
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else torch.empty_like(buffer, device="cuda")


@pytest.mark.parametrize("augment", AUGMENTED)
@pytest.mark.parametrize("family", FAMILIES)
def test_losses_are_computed_on_the_gpu_alone_and_nothing_waits_for_it(
    family: str, augment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU that is only thought of: tensors have places but no numbers, so that one left on the CPU is found anywhere."""
    settings = tiny(*FAMILIES[family], augment, "train.precision=float32")
    task = Generation(settings.model, settings.train, ImageShape(28, 1, 3))

    def slopes(outputs: Any, inputs: Any, **_: Any) -> tuple[Tensor, ...]:
        """Of the right shapes: backward passes need a real GPU."""
        return tuple(torch.zeros_like(one) for one in ([inputs] if isinstance(inputs, Tensor) else inputs))

    monkeypatch.setattr(torch.autograd, "grad", slopes)
    with FakeTensorMode(allow_non_fake_inputs=True), Waits() as waits:
        for network in task.networks.values():
            network.advance(0.5)
            put_trainer(network)
        for update in task.updates:
            task.activate(update)
            images = torch.empty(COUNT, 1, 28, 28, device="cuda")
            batch = labeled(images, torch.zeros(COUNT, dtype=torch.int64, device="cuda"))
            waits.found.clear()
            loss, shown = task.loss(update, batch, task.draw(update, COUNT), StepWeights(1.0, 0.5))
            assert {loss.device.type} | {value.device.type for value in shown.values()} == {"cuda"}
            assert not waits.found


def test_what_a_pretrained_network_is_shown_is_scaled_without_a_wait() -> None:
    scale = partial(_for_imagenet, mean=torch.full((3, 1, 1), 0.5), std=torch.full((3, 1, 1), 0.25))
    with FakeTensorMode(allow_non_fake_inputs=True), Waits() as waits:
        assert scale(torch.empty(COUNT, 3, 28, 28, device="cuda")).device.type == "cuda"
        assert not waits.found


@pytest.mark.parametrize("resident", [True, False])
def test_batches_are_copied_without_a_wait(resident: bool, digits: PackedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    if not resident:
        monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    (given,) = Batches({"data": digits}, 0, torch.device("cpu"))._sets.values()
    with FakeTensorMode(allow_non_fake_inputs=True), Waits() as waits:
        if given.resident is not None:
            given.resident = {name: torch.empty_like(values, device="cuda") for name, values in given.resident.items()}
        given.device = torch.device("cuda")
        monkeypatch.setattr(given, "_read", lambda _, __, count: {"image": torch.empty(count, 1, 28, 28, dtype=torch.uint8)})
        batch = given.batch(0, 0, COUNT, prefetch_start=COUNT)
        assert {field.device.type for field in batch.values()} == {"cuda"} and list(batch) == ["image", "label"]
        assert not waits.found


@pytest.mark.parametrize("device", DEVICES)
def test_streamed_batches_are_the_resident_ones(device: str, digits: PackedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU by way of pinned memory, which is given back while copies may be under way."""
    (resident,) = Batches({"data": digits}, 0, torch.device(device))._sets.values()
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    (streamed,) = Batches({"data": digits}, 0, torch.device(device))._sets.values()
    read = streamed._read(0, 0, COUNT)
    assert streamed.resident is None and read["image"].is_pinned() == (device == "cuda")
    for start in range(0, 40 * COUNT, COUNT):
        ours, theirs = (one.batch(1, start, COUNT, prefetch_start=start + COUNT) for one in (streamed, resident))
        assert ours["image"].device.type == device
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[field], theirs[field]) for field in ours)


def trained(settings: Settings, data: PackedDataset, folder: Path, device: str) -> dict[str, Tensor]:
    """The networks at the end of a run, whose convolutions on a GPU are those of float32 and the same each time."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        train(settings, data, folder, device=torch.device(device))
    return load_file(folder / "model" / "networks.safetensors")


def trainer(family: str, data: PackedDataset, folder: Path, device: str, *overrides: str) -> Trainer:
    """One that has not begun."""
    settings = tiny(*FAMILIES[family], *overrides)
    torch.manual_seed(0)
    task = Generation(settings.model, settings.train, ImageShape(data.resolution, data.channels, len(data.classes)))
    return Trainer(
        task, settings.train, {"data": data}, RunFolder(folder, "k"), pixel_distance(data), torch.device(device), Ranks()
    )


SHORT = ["train.images=128", "train.evaluate_from=1.0", "train.precision=float32"]


@pytest.mark.parametrize("device", DEVICES)
def test_a_group_of_one_rank_trains_as_no_group_does(device: str, digits: PackedDataset, tmp_path: Path) -> None:
    """Every collective is made, by nccl on a GPU, whose weights are in channels_last and whose counts are integers."""
    settings = tiny(*FAMILIES["dcgan"], *SHORT)
    without = trained(settings, digits, tmp_path / "without", device)
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        assert not Ranks().alone
        within = trained(settings, digits, tmp_path / "within", device)
        assert Ranks().gather(torch.ones(3, device=device)).tolist() == [1, 1, 1]
    finally:
        dist.destroy_process_group()
    assert apart(without, within) < (0.01 if device == "cuda" else 1e-9)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("family", CONVOLUTIONS)
def test_bfloat16_gives_nearly_the_loss_of_float32(family: str, device: str, digits: PackedDataset, tmp_path: Path) -> None:
    found = dict[str, dict[str, float]]()
    for precision in ("float32", "bfloat16"):
        one = trainer(family, digits, tmp_path, device, f"train.precision={precision}")
        one._step()
        found[precision] = one.meter.means()
    for name in ("loss_discriminator", "loss_generator"):
        assert found["bfloat16"][name] == pytest.approx(found["float32"][name], rel=0.02)
        assert found["bfloat16"][name] != found["float32"][name]


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("family", CONVOLUTIONS)
def test_a_step_waits_for_nothing(
    family: str, resident: bool, device: str, digits: PackedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not resident:
        monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    one = trainer(family, digits, tmp_path, device, "train.augment=none")
    for _ in range(4):
        one._step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):  # at every fourth, controllers read what the steps have shown
            one._step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("graphs", [False, True], ids=["kernels", "graphs"])
def test_compiled_networks_change_rounding_only_on_a_gpu(
    graphs: bool, device: str, digits: PackedDataset, tmp_path: Path
) -> None:
    from torch._inductor import config

    common = [*FAMILIES["r3gan"], *SHORT, "train.augment=none"]
    plain = trained(tiny(*common), digits, tmp_path / "plain", device)
    torch._dynamo.reset()
    with config.patch({"triton.cudagraphs": graphs}):
        compiled = trained(tiny(*common, "train.compile=true"), digits, tmp_path / "compiled", device)
    assert apart(plain, compiled) < 0.01


@pytest.mark.parametrize("device", [CUDA])
def test_a_step_that_does_not_fit_on_a_gpu_names_the_setting(device: str, digits: PackedDataset, tmp_path: Path) -> None:
    """The allocator itself refuses: the process may have what it has and 256 MB, a fraction of what a step takes."""
    trainer("dcgan", digits, tmp_path / "warm", device)._step()  # libraries take their own memory
    torch.cuda.empty_cache()
    whole, used = torch.cuda.get_device_properties(0).total_memory, torch.cuda.memory_reserved(0)
    torch.cuda.set_per_process_memory_fraction((used + (256 << 20)) / whole, 0)
    large = tiny(*FAMILIES["dcgan"], "model.dcgan.width=64", "train.batch=4096", "train.log_every=4096")
    try:
        with pytest.raises(OutOfMemory, match=r"set train\.checkpointing: true, or train\.accumulate: 2") as told:
            trained(large, digits, tmp_path / "large", device)
        assert isinstance(told.value.__cause__, torch.OutOfMemoryError)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, 0)
        torch.cuda.empty_cache()


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = list[int]()
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_90"])
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert choose_device("cuda:1") == torch.device("cuda:1") and chosen == [1]
    with pytest.raises(DistributedError, match="--device cuda:2: there is no GPU 2: PyTorch sees 2"):
        choose_device("cuda:2")
    monkeypatch.setenv("LOCAL_RANK", "3")
    with pytest.raises(DistributedError, match=r"there is no GPU 3: .* start no more ranks on a machine than it has GPUs"):
        choose_device("auto")
