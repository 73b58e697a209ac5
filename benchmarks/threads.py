"""How should OpenMP's threads wait for each other: what does each choice cost alone, and beside busy neighbors?

A waiting thread can spin, which is quick where its core is its own, or sleep, which leaves the core to others. Each choice trains
steps of the demo's recipe in a process of its own, beside 0, 1 and 2 processes that do nothing but count; choices take turns. The
rows are images a second over the whole time, the median of --rounds; `as shipped` is what atelier/__init__.py sets.

    make bench-threads
    .venv/bin/python -m benchmarks.threads --rounds 1 --seconds 1
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from atelier import SPINS
from atelier.config.settings import load
from atelier.data.packed import PackedDataset
from atelier.networks.layers import ImageShape
from atelier.tasks.generation.task import Generation
from atelier.training.distributed import Ranks, choose_device
from atelier.training.precision import native
from atelier.training.states import RunFolder
from atelier.training.trainer import Trainer
from benchmarks.measured import machine, show, table, watched
from components import cli

CHOICES = {
    "as shipped": {"GOMP_SPINCOUNT": SPINS},
    "OpenMP's default (300000 spins)": {"GOMP_SPINCOUNT": "300000"},
    "1000 spins": {"GOMP_SPINCOUNT": "1000"},
    "0 spins (OMP_WAIT_POLICY=PASSIVE)": {"GOMP_SPINCOUNT": "0"},
    "one thread": {"GOMP_SPINCOUNT": SPINS, "OMP_NUM_THREADS": "1"},
}
NEIGHBOURS = (0, 1, 2)
SKIPPED = 8  # steps before the clock starts


def speed(data: PackedDataset, seconds: float) -> float:
    """Images a second of steps of params.yaml's `train`, for at least so long."""
    settings, device = load("params.yaml"), choose_device("auto")
    trained = settings.train.model_copy(update={"precision": native(device)})
    task = Generation(settings.model, trained, ImageShape(data.resolution, data.channels, len(data.classes)))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            task, trained, {"data": data}, RunFolder(Path(folder), "unmeasured"), lambda _: (0.0, {}), device, Ranks()
        )
        for _ in range(SKIPPED):
            trainer._step()
        since, first = time.perf_counter(), trainer.seen
        while (taken := time.perf_counter() - since) < seconds:
            trainer._step()
        return (trainer.seen - first) / taken


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that count until the end of the block."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def report(args: argparse.Namespace) -> Iterator[str]:
    """Lines of the report."""
    yield f"{machine(('torch',))}; {native(choose_device('auto'))}"
    yield ""
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(args.rounds):
        for count in NEIGHBOURS:
            for name, environment in CHOICES.items():
                with busy(count):
                    said = watched(
                        f"{name}, {count} neighbors",
                        ["-m", "benchmarks.threads", "--data", str(args.data), "--one", "--seconds", str(args.seconds)],
                        environment,
                    )
                found.setdefault((name, count), []).append(float(said.stdout.split()[0]))
    rows = [[name, *(f"{statistics.median(found[name, count]):.0f}" for count in NEIGHBOURS)] for name in CHOICES]
    yield from table(["threads that wait", *(f"images/s, {count} neighbors" for count in NEIGHBOURS)], rows)


def main() -> None:
    """Measures, prints the table; with --one the speed of this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/base"), metavar="FOLDER", help="default: data/base")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--seconds", type=float, default=4.0, help="of training, each time (default: 4)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table there, too")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(speed(PackedDataset(args.data), args.seconds))
    else:
        show(report(args), args.output)


if __name__ == "__main__":
    cli.run(main)
