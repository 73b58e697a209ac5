"""Training steps beside the plain loop's: images a second, share of what the device's products reach, seconds for 1,000 images.

Networks have the widths that their papers use at that size, on batches that one of the authors' GPUs took. Both sides train from
the same packed images; a step of Atelier has penalties when its recipe (zoo.yaml) has them due, one of the loop always. The loop
decodes with up to eight workers and never comes to the end of an epoch, at which it would wait for them.

    python -m benchmarks.gpu.training --device cuda --data SMALL LARGE --seconds 4 "r3gan, 32 px: bfloat16"
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch._inductor import config as inductor
from torch.utils.data import DataLoader, RandomSampler

from atelier.data.packed import PackedDataset
from atelier.training.distributed import choose_device
from atelier.training.memory import OutOfMemory, naming_remedy
from benchmarks.gpu.children import say
from benchmarks.gpu.limits import PRODUCTS, TINY
from benchmarks.gpu.record import SKIPPED
from benchmarks.limits import ROUND, Counted, trainer
from benchmarks.measured import peak_megabytes
from benchmarks.plain_loop import Pictures, PlainLoop
from benchmarks.zoo import recipe

LOOP, FLOAT32, BFLOAT16 = "plain loop", "float32", "bfloat16"
SEARCHED, COMPILED, GRAPHS = "bfloat16, cuDNN's search", "bfloat16, compiled", "bfloat16, CUDA graphs"
WAYS = (LOOP, FLOAT32, BFLOAT16)
MAX_WORKERS = 8
LARGE = 256  # px, above which a workload reads the set of large images


@dataclass(frozen=True)
class Workload:
    """A family at a size: what differs from its recipe, by which ways it is trained, and what to change for a rehearsal."""

    family: str
    resolution: int
    overrides: tuple[str, ...]
    tiny: tuple[str, ...]
    ways: tuple[str, ...] = WAYS


R3GAN, STYLEGAN2 = "model.r3gan", "model.stylegan2"
OF_STYLEGAN2 = (
    f"{STYLEGAN2}.width=64",
    f"{STYLEGAN2}.widest=512",
    "model.latent_dim=512",
    "train.regularizers.r1=0.8192",
    "train.batch=16",
)
TINY_BATCH = "train.batch=8"
TINY_R3GAN = (TINY_BATCH, f"{R3GAN}.channels=[16,16,16,16]", f"{R3GAN}.blocks=1")
TINY_STYLEGAN2 = (TINY_BATCH, f"{STYLEGAN2}.width=4", f"{STYLEGAN2}.widest=8", "model.latent_dim=16")
WORKLOADS = {
    "dcgan, 32 px": Workload("dcgan", 32, ("model.dcgan.width=128",), (TINY_BATCH, "model.dcgan.width=4")),
    "r3gan, 32 px": Workload(
        "r3gan", 32, (f"{R3GAN}.channels=[768,768,768,768]", f"{R3GAN}.blocks=2", "train.batch=64"), TINY_R3GAN
    ),
    "stylegan2, 256 px": Workload("stylegan2", 256, OF_STYLEGAN2, TINY_STYLEGAN2),
    "stylegan2, 256 px, as published": Workload(
        "stylegan2",
        256,
        (*OF_STYLEGAN2, f"{STYLEGAN2}.mixing=0.9", "model.conditional=false", "train.augment=ada",
         "train.regularizers.path_length=2.0", "train.penalty_every=4"),
        TINY_STYLEGAN2,
        (BFLOAT16,),
    ),
    "r3gan, 256 px": Workload(
        "r3gan",
        256,
        (f"{R3GAN}.channels=[768,768,768,768,384,192,96]", f"{R3GAN}.blocks=2", "train.batch=32"),
        TINY_R3GAN,
    ),
    "dcgan, 256 px": Workload("dcgan", 256, ("model.dcgan.width=16",), (TINY_BATCH, "model.dcgan.width=4")),
}  # fmt: skip
FIRST = tuple(f"{name}: {way}" for name, workload in WORKLOADS.items() for way in workload.ways)
TRIED = tuple(f"{name}: {way}" for name in ("dcgan, 32 px", "r3gan, 32 px") for way in (SEARCHED, COMPILED, GRAPHS))
NAMES = (*FIRST, *TRIED)


class EndlessLoop(PlainLoop):
    """The plain loop on images without an end."""

    def __init__(self, family: str, data: PackedDataset, device: torch.device, overrides: list[str]) -> None:
        settings = recipe(family, data, {}, overrides)
        super().__init__(settings, data, device)
        pictures, workers = Pictures(data), min(MAX_WORKERS, len(os.sched_getaffinity(0)))
        sampler = RandomSampler(pictures, num_samples=10**9)
        self.loader = DataLoader(pictures, settings.train.batch, sampler=sampler, drop_last=True, num_workers=workers)


class Measuring:
    """What the ways of a process have in common: the device, its peaks, and what they found of one another."""

    def __init__(self, device: torch.device, data: list[Path], seconds: float, rehearse: bool) -> None:
        self.device, self.seconds, self.rehearse = device, seconds, rehearse
        self.data = [PackedDataset(folder) for folder in data]
        rounds = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        side = TINY if rehearse else None
        self.peaks = {FLOAT32: PRODUCTS["TF32" if rounds else FLOAT32](device, side), BFLOAT16: PRODUCTS[BFLOAT16](device, side)}
        self.of_loop = dict[str, float]()
        self.operations = dict[str, float]()

    def measure(self, name: str) -> None:
        """Says the row of a name."""
        workload_name, _, way = name.partition(": ")
        workload = WORKLOADS[workload_name]
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            with tempfile.TemporaryDirectory() as folder, naming_remedy(self._memory):
                steps, batch, round_ = self._ready(workload, way, Path(folder))
                arithmetic = f"{workload_name}, {'loop' if way == LOOP else 'Atelier'}"  # the same in each precision
                if arithmetic not in self.operations and not name.endswith((COMPILED, GRAPHS)):
                    with Counted() as counted:
                        steps(round_)
                    self.operations[arithmetic] = counted.operations / round_
                each = self._seconds(steps, round_)
        except OutOfMemory as error:
            say(name, status=SKIPPED, reason=str(error))
            return
        finally:
            torch._dynamo.reset()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        self._say(name, workload_name, way, batch, each, self.operations.get(arithmetic))

    def _say(self, name: str, workload: str, way: str, batch: int, each: float, operations: float | None) -> None:
        figures: dict[str, float | int] = {"batch": batch, "images/s": batch / each}
        if way == LOOP:
            self.of_loop[workload] = each
        if workload in self.of_loop:
            figures["times the loop"] = self.of_loop[workload] / each
        figures |= {"s for 1,000 images": 1000 * each / batch, "ms a step": 1000 * each}
        if operations is not None:
            peak = self.peaks[FLOAT32 if way in (LOOP, FLOAT32) else BFLOAT16]
            speed = operations / each
            figures |= {"GFLOP a step": operations / 1e9, "TFLOP/s": speed / 1e12, "of the peak, %": 100 * speed / peak}
        cuda = self.device.type == "cuda"
        figures["peak, MB"] = torch.cuda.max_memory_allocated(self.device) / 2**20 if cuda else peak_megabytes()
        say(name, figures)

    def _memory(self) -> str:
        if self.device.type == "cpu":
            return "does not fit into the memory of this machine"
        return f"does not fit into the {torch.cuda.get_device_properties(self.device).total_memory / 2**30:.1f} GiB of this GPU"

    def _ready(self, workload: Workload, way: str, folder: Path) -> tuple[Callable[[int], None], int, int]:
        """What makes so many steps and waits for them, the images of one, and how many steps have every kind of step in them."""
        overrides = [*workload.overrides, *(workload.tiny if self.rehearse else ())]
        data = self.data[workload.resolution >= LARGE]
        if way == LOOP:
            loop = EndlessLoop(workload.family, data, self.device, overrides)
            batches = loop._batches()

            def plain(count: int) -> None:
                for _ in range(count):
                    loop.step(next(batches), next(batches))

            return plain, loop.chosen.batch, 1
        precision = FLOAT32 if way == FLOAT32 else BFLOAT16
        overrides += ["train.compile=true"] if way in (COMPILED, GRAPHS) else []
        torch.manual_seed(0)
        one = trainer(workload.family, precision, data, folder, self.device, overrides)

        def steps(count: int) -> None:
            torch.backends.cudnn.benchmark = way == SEARCHED
            with inductor.patch({"triton.cudagraphs": way == GRAPHS}):
                for _ in range(count):
                    one._step()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)

        return steps, one.settings.batch, one.settings.penalty_every if self.rehearse else ROUND

    def _seconds(self, steps: Callable[[int], None], round_: int) -> float:
        """Seconds of a step: the median of the rounds of some seconds, after one that is not counted."""
        steps(round_)
        taken, until = list[float](), time.perf_counter() + self.seconds
        while not taken or time.perf_counter() < until:
            since = time.perf_counter()
            steps(round_)
            taken.append((time.perf_counter() - since) / round_)
        return statistics.median(taken)


def main() -> None:
    """Says a row for each name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", required=True)
    parser.add_argument(
        "--data", type=Path, nargs=2, required=True, metavar="FOLDER", help="packed images of 32 px, and of 256 px"
    )
    parser.add_argument("--seconds", type=float, required=True, help="of each row, beside the time to begin")
    parser.add_argument("--rehearse", action="store_true", help="tiny networks and batches")
    parser.add_argument("names", nargs="+", choices=NAMES)
    args = parser.parse_args()
    measuring = Measuring(choose_device(args.device), args.data, args.seconds, args.rehearse)
    for name in args.names:
        measuring.measure(name)


if __name__ == "__main__":
    main()
