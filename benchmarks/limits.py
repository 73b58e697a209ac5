"""What does this machine allow, and what takes the rest? Arithmetic and time of training steps beside measured peaks.

The peaks are a product of two matrices in each precision and a copy: of 2048 x 2048 and of 256 MB on a CPU, of 8192 x 8192 and of
1 GiB on a GPU, which smaller ones would not fill. A step is one of both networks, of the recipe of zoo.yaml, without the images'
way from the disk (which `make bench-train` has). Its arithmetic is counted operator by operator: convolutions and matrix
products; a step with penalties has more of it than others, here is their mean. The shares are of the time of the main thread in a
profile of its own: `between` is Python, dispatch and waiting.

    .venv/bin/python -m benchmarks.limits
    .venv/bin/python -m benchmarks.limits --families mlp dcgan --data data/fashion
    .venv/bin/python -m benchmarks.limits --families cyclegan fastcut pix2pix        as bench-translation trains them
    .venv/bin/python -m benchmarks.limits --families srresnet rrdb                   as bench-restoration does, in both stages
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from atelier.config.model import ModelSettings
from atelier.config.training import TrainSettings
from atelier.data.packed import PackedDataset
from atelier.networks.layers import ImageShape
from atelier.tasks.find import find
from atelier.tasks.generation.task import Generation
from atelier.training.distributed import Ranks, choose_device
from atelier.training.precision import native
from atelier.training.states import RunFolder
from atelier.training.trainer import Trainer
from benchmarks import restoration, translation
from benchmarks.measured import machine, show, table
from benchmarks.train import COMPARED
from benchmarks.zoo import FAMILIES, recipe
from components import cli

SIDE, COPIED = {"cpu": 2048, "cuda": 8192}, {"cpu": 256 << 20, "cuda": 1 << 30}
ROUND = 8  # steps, a multiple of every penalty_every: their mean is that of a run
ROUNDS = 6
KINDS = {
    "convolutions, products": ("conv", "mkldnn", "mm", "addmm", "bmm", "linear", "matmul", "cudnn"),
    "copies, layouts": ("copy", "clone", "contiguous", "fill", "zero", "cat", "index", "empty", "embedding"),
    "optimizer": ("adam", "foreach", "lerp"),
}
REST, BETWEEN = "other operators", "between"


def of_convolution(args: Any, found: Tensor) -> int:
    """Operations: two for each weight, image and position of the side that is the sum of others."""
    images, weight, transposed = args[0], args[1], args[6]
    side = images if transposed else found
    return 2 * weight.numel() * side.numel() // side.shape[1]


def of_its_backward(args: Any, _: Any) -> int:
    """As many for each of both gradients that is asked for."""
    slope, images, weight, transposed, wanted = args[0], args[1], args[2], args[7], args[10]
    side = images if transposed else slope
    return 2 * weight.numel() * side.numel() // side.shape[1] * (wanted[0] + wanted[1])


CONVOLUTIONS: dict[Any, Callable[[Any, Any], int]] = {
    torch.ops.aten.convolution: of_convolution,
    torch.ops.aten.convolution_backward: of_its_backward,
}


class Counted(TorchDispatchMode):
    """Sums the arithmetic of what runs meanwhile.

    PyTorch's own mode refuses gradients of gradients, and counts grouped convolutions backwards as if they had no groups.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if mine := CONVOLUTIONS.get(func.overloadpacket):
            self.operations += mine(args, found)
        elif count := flop_registry.get(func.overloadpacket):
            self.operations += count(*args, **(kwargs or {}), out_val=found)
        return found


def seconds(work: Callable[[], Any], device: torch.device, times: int = ROUNDS) -> list[float]:
    """How long it takes, again and again; the first two times are not counted."""
    taken = []
    for _ in range(2 + times):
        since = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - since)
    return taken[2:]


def peak(precision: torch.dtype, device: torch.device, side: int | None = None) -> float:
    """Operations a second of a matrix product, of SIDE by SIDE where no `side` is given."""
    side = side or SIDE[device.type]
    one, other = (torch.randn(side, side, device=device).to(precision) for _ in range(2))
    return 2 * side**3 / min(seconds(lambda: one @ other, device, 20))


def copying(device: torch.device) -> float:
    """Bytes read and written a second by a copy."""
    size = COPIED[device.type]
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return 2 * size / min(seconds(lambda: target.copy_(source), device, 20))


def trainer(
    family: str,
    precision: str,
    data: PackedDataset,
    folder: Path,
    device: torch.device,
    overrides: Sequence[str] = (),
    ranks: Ranks | None = None,
) -> Trainer:
    """One that has not begun."""
    settings = recipe(family, data, {"train.precision": precision, "train.images": 10**6}, list(overrides))
    classes = len(data.classes) if settings.model.conditional else 0
    task = Generation(settings.model, settings.train, ImageShape(data.resolution, data.channels, classes))
    unmeasured = RunFolder(folder, "unmeasured")
    return Trainer(task, settings.train, {"data": data}, unmeasured, lambda _: (0.0, {}), device, ranks or Ranks())


def translator(name: str, precision: str, pictures: Path, folder: Path, device: torch.device) -> Trainer:
    """One of those that `benchmarks.translation` compares, which has not begun."""
    settings = translation.settings_of(name, {"train.precision": precision, "train.images": 10**6})
    packed = translation.prepared(name, pictures)
    data = {role: packed[one] for role, one in translation.COMPARED[name].sets.items()}
    return _unbegun(settings.model, settings.train, data, folder, device)


def restorer(name: str, precision: str, pictures: Path, folder: Path, device: torch.device) -> Trainer:
    """One of those that `benchmarks.restoration` compares, by its name and stage, which has not begun."""
    family, _, stage = name.partition(", ")
    settings = restoration.settings_of(family, {"precision": precision, "images": 10**6})
    data = {"data": restoration.prepared(pictures)}
    return _unbegun(settings.model, settings.trainings[restoration.STAGES[stage]], data, folder, device)


def _unbegun(
    model: ModelSettings, train: TrainSettings, data: dict[str, PackedDataset], folder: Path, device: torch.device
) -> Trainer:
    task = find(model.task).build(model, train, data)
    return Trainer(task, train, data, RunFolder(folder, "unmeasured"), lambda _: (0.0, {}), device, Ranks())


def kind(operator: str) -> str:
    """Where the time of an operator belongs."""
    name = operator.split("::")[-1].lower()
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), REST)


def shares(steps: Callable[[], None]) -> dict[str, float]:
    """Of the time that the steps take, by kind."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        since = time.perf_counter()
        steps()
        whole = time.perf_counter() - since
    spent = dict.fromkeys([*KINDS, REST], 0.0)
    for event in found.key_averages():
        if event.key.startswith("aten::") and event.device_type == DeviceType.CPU:
            spent[kind(event.key)] += event.self_cpu_time_total / 1e6 / whole
    return spent | {BETWEEN: 1 - sum(spent.values())}


def report(args: argparse.Namespace) -> Iterator[str]:
    """Lines of the report."""
    device = choose_device("auto")
    gpu = torch.cuda.get_device_name() if device.type == "cuda" else None
    yield machine(("torch",), gpu)
    peaks = {name: peak(getattr(torch, name), device) for name in dict.fromkeys(("float32", native(device)))}
    products = " and ".join(f"{value / 1e9:.0f} GFLOP/s in {name}" for name, value in peaks.items())
    yield f"\nPeaks: matrix product {products}; copy {copying(device) / 1e9:.1f} GB/s.\n"
    rows = []
    for family in _stages(args.families):
        for precision in peaks:
            with tempfile.TemporaryDirectory() as folder:
                if family in translation.COMPARED:
                    trained = translator(family, precision, args.pictures or translation.FOLDER, Path(folder), device)
                elif family not in FAMILIES:
                    trained = restorer(family, precision, args.pictures or restoration.FOLDER, Path(folder), device)
                else:
                    trained = trainer(family, precision, PackedDataset(args.data), Path(folder), device)

                def steps(trained: Trainer = trained) -> None:
                    for _ in range(ROUND):
                        trained._step()

                each = statistics.median(seconds(steps, device)) / ROUND
                with Counted() as counted:
                    steps()
                spent = shares(steps)
            speed = counted.operations / ROUND / each
            rows.append(
                [family, precision, f"{counted.operations / ROUND / 1e9:.2f}", f"{each * 1e3:.1f}"]
                + [f"{trained.settings.batch / each:.0f}", f"{speed / 1e9:.0f}", f"{speed / peaks[precision]:.0%}"]
                + [f"{spent[name]:.0%}" for name in (*KINDS, REST, BETWEEN)]
            )
    header = ["family", "precision", "GFLOP a step", "ms a step", "images/s", "GFLOP/s", "of the peak", *KINDS, REST, BETWEEN]
    yield from table(header, rows)


def _stages(families: Sequence[str]) -> Iterator[str]:
    """The families, those that restore by the stages of their training."""
    for family in families:
        yield from (f"{family}, {stage}" for stage in restoration.STAGES) if family in restoration.COMPARED else (family,)


def main() -> None:
    """Measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--families",
        nargs="+",
        choices=[*FAMILIES, *translation.COMPARED, *restoration.COMPARED],
        default=list(COMPARED),
        metavar="NAME",
        help=f"default: {', '.join(COMPARED)}; {', '.join(translation.COMPARED)} translate, "
        f"{', '.join(restoration.COMPARED)} restore",
    )
    parser.add_argument("--data", type=Path, default=Path("data/base"), metavar="FOLDER", help="default: data/base")
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="FOLDER",
        help=f"of translators and restorers, default: {translation.FOLDER} and {restoration.FOLDER}",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table there, too")
    args = parser.parse_args()
    show(report(args), args.output)


if __name__ == "__main__":
    cli.run(main)
