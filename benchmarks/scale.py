"""What do more data and more ranks cost? Time of an image in training as the data grow a hundredfold, and the speed of two ranks.

Data: sets of drawn noise of 32 px, resident on the device or streamed from their shards (as sets of more than 2 GiB are read),
trained on by dcgan; what is read lies in the page cache. Ranks share a batch over gloo: one with a thread, one with as many
threads as there are cores, and two with a thread each.

    .venv/bin/python -m benchmarks.scale --plot docs/images/scale.png                  five minutes on 2 cores
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import struct
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from atelier.config.settings import load
from atelier.data.pack import pack
from atelier.data.packed import PackedDataset
from atelier.training import batches
from atelier.training.distributed import choose_device, ranks
from benchmarks.limits import trainer
from benchmarks.measured import machine, own_megabytes, show, table, watched
from components import cli

SIDE, COUNTS = 32, (1_000, 10_000, 100_000)
STEPS, SKIPPED = 60, 10
FAMILY = "dcgan"


def packed(count: int, folder: Path) -> PackedDataset:
    """So many images of noise, none twice."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE), dtype=np.uint8)
    files = folder / "files"
    files.mkdir(parents=True)
    header = struct.pack(">4B3I", 0, 0, 8, 3, count, SIDE, SIDE)
    (files / "images-idx3-ubyte").write_bytes(header + pixels.tobytes())
    labels = (np.arange(count) % 10).astype(np.uint8)
    (files / "labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, count) + labels.tobytes())
    values = {"data.base.source": "idx", "data.base.path": str(files), "data.base.resolution": SIDE}
    values |= {"data.target.resolution": SIDE}
    settings = load("params.yaml", [f"{key}={json.dumps(value)}" for key, value in values.items()])
    pack(settings.data["base"], folder / "packed", section="data.base")
    return PackedDataset(folder / "packed")


def step_seconds(data: PackedDataset) -> float:
    """Median of the time of a step, on this rank."""
    device, taken = choose_device("auto"), []
    with ranks(device) as these, tempfile.TemporaryDirectory() as folder:
        trained = trainer(FAMILY, "float32", data, Path(folder), device, ranks=these)
        for _ in range(STEPS):
            since = time.perf_counter()
            trained._step()
            taken.append(time.perf_counter() - since)
    return statistics.median(taken[SKIPPED:])


def growth(folder: Path) -> Iterator[tuple[int, str, float]]:
    """Images, how they are read, microseconds an image."""
    batch = 64
    for count in COUNTS:
        data = packed(count, folder / str(count))
        for name, limit in (("resident", batches.RESIDENT_BYTES), ("streamed", 0)):
            said = watched(
                f"{count} images, {name}", ["-m", "benchmarks.scale", "--step", str(data.folder), "--resident", str(limit)]
            )
            yield count, name, 1e6 * float(said.stdout.split()[0]) / batch


def of_ranks(data: Path) -> list[list[str]]:
    """A row for each number of ranks and threads."""
    cores = len(os.sched_getaffinity(0))
    found = {}
    for world, threads in ((1, 1), (1, cores), (2, 1)):
        launched = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
        command = [*launched, "-m", "benchmarks.scale", "--step", str(data), "--threads", str(threads)]
        said = watched(f"{world} ranks, {threads} threads each", command)
        found[world, threads] = 64 / float(said.stdout.split()[0])
    alone = found[1, 1]
    return [
        [str(world), str(threads), f"{speed:.0f}", f"{speed / alone:.2f}", f"{speed / alone / (world * threads):.0%}"]
        for (world, threads), speed in found.items()
    ]


def plot(points: Sequence[tuple[int, str, float]], place: Path) -> None:
    """Microseconds an image over images, a line for each way of reading."""
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for name in ("resident", "streamed"):
        axes.plot(*zip(*((count, cost) for count, how, cost in points if how == name), strict=True), marker="o", label=name)
    axes.set(xscale="log", xlabel="images in the set", ylabel="µs of training an image", title=f"{FAMILY}, {SIDE} px")
    axes.set_ylim(0, 1.2 * max(cost for *_, cost in points))
    axes.legend()
    axes.grid(alpha=0.3)
    place.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(place, dpi=120)


def report(args: argparse.Namespace) -> Iterator[str]:
    """Lines of the report."""
    yield machine(("torch",))
    yield ""
    with tempfile.TemporaryDirectory() as scratch:
        points = list(growth(Path(scratch)))
        rows = [[f"{count:,}", name, f"{cost:.0f}", f"{1e6 / cost:.0f}"] for count, name, cost in points]
        yield from table(["images", "read", "µs an image", "images/s"], rows)
        yield ""
        rows = of_ranks(Path(scratch) / str(COUNTS[0]) / "packed")
        yield from table(["ranks", "threads each", "images/s", "times one thread", "efficiency"], rows)
    if args.plot:
        plot(points, args.plot)


def main() -> None:
    """Measures, prints the tables; with --step the seconds of a step on that set, and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the cost of an image there")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the tables there, too")
    parser.add_argument("--step", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--resident", type=int, default=batches.RESIDENT_BYTES, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.step:
        show(report(args), args.output)
        return
    batches.RESIDENT_BYTES = args.resident
    if args.threads:
        torch.set_num_threads(args.threads)
    seconds = step_seconds(PackedDataset(args.step))
    if int(os.environ.get("RANK", "0")) == 0:
        print(seconds, own_megabytes())


if __name__ == "__main__":
    cli.run(main)
