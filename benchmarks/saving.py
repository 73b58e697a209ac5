"""What do saves in S3 cost? Training with no mirror, with one, and with one whose server hangs; and how fast a process leaves.

Images a second are measured over whole runs, saves included, on a small network and on one whose state is about 100 MB, saved
every few seconds. "S3 hangs" stops the server's process (--server) when training has begun, and lets it go on at the end: take a
server that nobody else needs. It gets a core of its own, as a store has that is elsewhere; training gets the others. Seconds from
SIGTERM are those of the command, with its state in S3 at the end.

    eval "$(make -s services)"
    .venv/bin/python -m components.prepare --section data.base --output data/base
    .venv/bin/python -m benchmarks.saving --mirror s3://atelier/saving --server $(pgrep -f 'weed.*server')
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from atelier.config.settings import Settings, load
from atelier.data.packed import PackedDataset
from atelier.io.storage import S3Storage
from atelier.tasks.generation.task import Generation
from atelier.training.distributed import Ranks, choose_device
from atelier.training.history import Observer
from atelier.training.run import run
from components import cli

SIZES = {
    "small": ["train.batch=32", "train.images=3200", "train.save_every=320", "train.log_every=320"],
    "large": ["train.batch=4", "train.images=96", "train.save_every=24", "train.log_every=24",
              "model.r3gan.channels=[384,384,192]", "model.r3gan.blocks=2"],
}  # fmt: skip
COMMON = ["model.architecture=r3gan", "train.objective=relativistic", "train.evaluate_from=1.0", "train.min_diversity=0.0"]
WAYS = ("no mirror", "mirror", "mirror, S3 hangs")


class Clock(Observer):
    """Times the points of the curves; stops the server at the first, lets it go on at the last."""

    def __init__(self, images: int, server: int | None) -> None:
        self.images, self.server = images, server
        self.times: list[tuple[float, float]] = []

    def point(self, point: dict[str, float]) -> None:
        """Notes images and time."""
        self.times.append((point["images"], time.monotonic()))
        if self.server and len(self.times) == 1:
            os.kill(self.server, signal.SIGSTOP)
        if self.server and point["images"] >= self.images:
            os.kill(self.server, signal.SIGCONT)

    @property
    def speed(self) -> float:
        """Images a second from the first point to the last."""
        (first, began), (last, ended) = self.times[0], self.times[-1]
        return (last - first) / (ended - began)


def speed(settings: Settings, data: PackedDataset, way: str, mirror: str, server: int) -> float:
    """Images a second of a whole run."""

    def measure(_: Any) -> tuple[float, dict[str, Any]]:
        return 0.0, {"metric": "none"}

    clock = Clock(settings.train.images, server if way.endswith("hangs") else None)
    with tempfile.TemporaryDirectory() as scratch:
        folder, device = Path(scratch), choose_device("auto")
        chosen = None if way == "no mirror" else f"{mirror}/{uuid.uuid4().hex}"
        try:
            run(
                Generation, settings.model, settings.train, {"data": data}, folder / "model", folder / "states",
                measure, {"metric": "none"}, device, Ranks(), git={}, observers=[clock], mirror=chosen,
            )  # fmt: skip
        finally:
            os.kill(server, signal.SIGCONT)
    return clock.speed


def leaving(overrides: list[str], params: Path, data: Path, mirror: str) -> tuple[float, float]:
    """Seconds from SIGTERM to the end of the command, and the size of one save in MB."""
    mirror = f"{mirror}/{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "components.train", "--params", str(params), "--data", str(data), "--mirror", mirror]
        command += ["--output", f"{scratch}/model", "--states", f"{scratch}/states"]
        command += [f"--set={one}" for one in [*COMMON, *overrides, "train.images=100000000", "train.log_every=100000000"]]
        environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{scratch}/mlflow.db"}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and not any("/saves/" in entry.name for entry in S3Storage(mirror).entries()):
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        _, error = process.communicate()
        seconds = time.monotonic() - began
        if process.returncode != 75 or "here and in s3://" not in error:
            sys.exit(error)
        newest = max(Path(scratch).glob("states/*/step-*"))
        return seconds, sum(file.stat().st_size for file in newest.iterdir()) / 1e6


def part_cores(server: int) -> int:
    """Leaves the last core to the server, and the others to this process; how many those are."""
    *own, last = sorted(os.sched_getaffinity(0))
    if not own:
        sys.exit("one core only: there is none for the server")
    for thread in Path(f"/proc/{server}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {last})
    os.sched_setaffinity(0, own)
    torch.set_num_threads(len(own))
    return len(own)


def main() -> None:
    """Trains, stops, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE", help="default: params.yaml")
    parser.add_argument("--data", type=Path, default=Path("data/base"), metavar="FOLDER", help="default: data/base")
    parser.add_argument("--mirror", required=True, metavar="S3", help="s3://bucket/prefix for the saves")
    parser.add_argument("--server", type=int, required=True, metavar="PID", help="process of the S3 server, stopped for a while")
    args = parser.parse_args()
    data, cores = PackedDataset(args.data), part_cores(args.server)
    columns = ["state, MB", *(f"{way}\nimages/s" for way in WAYS), "from SIGTERM\nto the end, s"]
    where = f"{choose_device('auto')}, {cores} core{'s' * (cores > 1)} and one for S3"
    table = Table("network", *columns, title=f"r3gan, {data.resolution} px, on {where}")
    for name, overrides in SIZES.items():
        settings = load(args.params, [*COMMON, *overrides])
        speeds = [f"{speed(settings, data, way, args.mirror, args.server):.4g}" for way in WAYS]
        seconds, size = leaving(overrides, args.params, args.data, args.mirror)
        table.add_row(name, f"{size:.3g}", *speeds, f"{seconds:.2f}")
    Console().print(table)


if __name__ == "__main__":
    cli.run(main)
