"""How much memory does a model of 256 px need? Micro-batches and activations that are computed again, one process for each.

A step of both networks of a family at --resolution, penalties included, on images that are drawn here. Memory is the peak of the
process on a CPU, with what PyTorch itself takes, and that of PyTorch's allocator on a GPU; the time is that of the second step.

    .venv/bin/python -m benchmarks.memory                             a quarter of an hour on 2 cores
    .venv/bin/python -m benchmarks.memory --families stylegan2 biggan --resolution 128
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from atelier.config.settings import load
from atelier.data.pack import pack
from atelier.data.packed import PackedDataset
from atelier.training.distributed import choose_device
from atelier.training.precision import native
from benchmarks.limits import trainer
from benchmarks.measured import machine, peak_megabytes, show, table, watched
from benchmarks.prepare import draw
from components import cli

SHAPES = {  # of networks of a usual width at that size
    "r3gan": ["model.r3gan.channels=[256,256,256,256,128,64,32]", "train.penalty_every=1"],
    "stylegan2": ["model.stylegan2.width=32", "model.stylegan2.widest=256", "train.penalty_every=1"],
    "biggan": ["model.biggan.width_generator=32", "model.biggan.width_discriminator=32", "model.biggan.attention=2"],
}
BATCH = 16
WAYS = ((1, False), (1, True), (4, False), (4, True))


def packed(images: Path, resolution: int, folder: Path) -> PackedDataset:
    """A folder of images in color, packed at a resolution."""
    values = {"source": "folder", "path": str(images), "licence": "none", "resolution": resolution, "channels": 3}
    both = {f"{part}.{key}": values[key] for part in ("data.base", "data.target") for key in ("resolution", "channels")}
    chosen = both | {f"data.base.{key}": value for key, value in values.items()}
    pack(load("params.yaml", [f"{key}={json.dumps(value)}" for key, value in chosen.items()]).data["base"], folder)
    return PackedDataset(folder)


def step(family: str, data: PackedDataset, accumulate: int, checkpointing: bool) -> dict[str, float]:
    """Peak in MB, and seconds of the second step."""
    device = choose_device("auto")
    less = [f"train.batch={BATCH}", f"train.accumulate={accumulate}", f"train.checkpointing={str(checkpointing).lower()}"]
    with tempfile.TemporaryDirectory() as folder:
        trained = trainer(family, native(device), data, Path(folder), device, [*SHAPES[family], *less])
        for _ in range(2):
            since = time.perf_counter()
            trained._step()
            if device.type == "cuda":
                torch.cuda.synchronize()
        seconds = time.perf_counter() - since
    peak = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else peak_megabytes()
    parameters = sum(p.numel() for network in trained.task.networks.values() for p in network.parameters())
    return {"megabytes": peak, "seconds": seconds, "parameters": parameters}


def report(args: argparse.Namespace) -> Iterator[str]:
    """Lines of the report."""
    yield machine(("torch",), torch.cuda.get_device_name() if torch.cuda.is_available() else None)
    yield ""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        draw(8 * BATCH, Path(scratch) / "images")
        data = packed(Path(scratch) / "images", args.resolution, Path(scratch) / "packed")
        for family in args.families:
            for accumulate, checkpointing in WAYS:
                way = [str(data.folder), str(accumulate), str(int(checkpointing))]
                name = f"{family}, {args.resolution} px, {accumulate} parts{', activations again' * checkpointing}"
                said = watched(name, ["-m", "benchmarks.memory", "--families", family, "--way", *way])
                found = json.loads(said.stdout.splitlines()[-3])
                parameters = f"{found['parameters'] / 1e6:.1f} M"
                peak, seconds = f"{found['megabytes']:,.0f}", f"{found['seconds']:.1f}"
                rows.append([family, parameters, str(accumulate), str(checkpointing).lower(), peak, seconds])
    yield from table(["family", "parameters", "accumulate", "checkpointing", "peak, MB", "s a step"], rows)
    yield ""
    precision = native(choose_device("auto"))
    yield f"{args.resolution} px in color, batches of {BATCH}, {precision}, each step with penalties where the recipe has any."


def main() -> None:
    """Measures, prints the table; with --way one row, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=SHAPES, default=list(SHAPES), metavar="NAME", help="default: all three")
    parser.add_argument(
        "--resolution", type=int, default=256, metavar="PX", help="default: 256; r3gan has channels for 256 alone"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table there, too")
    parser.add_argument("--way", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.way:
        show(report(args), args.output)
        return
    folder, accumulate, checkpointing = args.way
    print(json.dumps(step(args.families[0], PackedDataset(Path(folder)), int(accumulate), checkpointing == "1")))


if __name__ == "__main__":
    cli.run(main)
