"""How fast does a GAN train, how soon, in how much memory, how far does it come? Atelier beside a plain loop and a peer's own.

All train the same networks from the same packed images with the same batch, objective and rates (zoo.yaml), each as a process of
its own: first Atelier for --minutes, as many images as a short run says that these allow; then for as many seconds the loop as
public code bases write it (benchmarks/plain_loop.py); then Atelier in bfloat16, where the device has instructions for it. A
peer's own code, mimicry's trainer (benchmarks/mimicry_loop.py), has the family that it knows the loss of, without labels.
Afterwards the generators are measured alike, by their Fréchet distance from the training images. Memory is the peak of the
process that trains; the start is the time until the first step begins: imports, and beyond them reading the images and making
the networks.

    make bench-train                                            an hour on 2 cores: the digits, then Fashion-MNIST and emoji
    .venv/bin/python -m benchmarks.train --families dcgan --peer --minutes 0.5 --data data/base
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from atelier.config.settings import Settings
from atelier.data.packed import PackedDataset
from atelier.metrics.evaluator import Evaluator
from atelier.models.model import load_generator
from atelier.networks.base import Generator
from atelier.tasks.generation.task import Generation
from atelier.training.distributed import Ranks, choose_device
from atelier.training.history import Observer
from atelier.training.precision import native
from atelier.training.run import run
from benchmarks.measured import machine, peak_megabytes, show, table, watched
from benchmarks.mimicry_loop import PLACE, MimicryLoop
from benchmarks.plain_loop import PlainLoop
from benchmarks.zoo import FAMILIES, SPEED_STEPS, Speed, recipe
from components import cli

COMPARED = ("dcgan", "resnet", "r3gan")  # cross-entropy, hinge, relativistic pairs with both penalties
PEER, UNLABELLED = "resnet", ["model.conditional=false"]  # mimicry has its loss, and neither labels nor penalties
SIDES = {"loop": "plain loop", "mimicry": "mimicry", "atelier": "Atelier", "bfloat16": "Atelier, bfloat16"}


class Start(Observer):
    """Hears when the first step begins."""

    def __init__(self) -> None:
        self.at = 0.0

    def started(self, history: dict[str, Any]) -> None:
        self.at = time.time()


def atelier(family: str, data: PackedDataset, minutes: float, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Trains for about so many minutes; the budget is what a short run managed."""
    begun, speed = Start(), Speed()
    probe = recipe(family, data, {}, overrides).train.batch * SPEED_STEPS
    _train(recipe(family, data, _unmeasured(probe, probe // 2), overrides), data, folder / "probe", [begun, speed])
    images = max(int(speed.images_per_second * minutes * 60), probe)
    trained, since = recipe(family, data, _unmeasured(images, images // 10), overrides), time.monotonic()
    _train(trained, data, folder / "whole", [])
    seconds, peak = time.monotonic() - since, peak_megabytes()
    generator = load_generator(folder / "whole" / "model", choose_device("auto"))
    return _told(data, trained, generator, images, seconds, begun.at, peak, folder)


def bfloat16(family: str, data: PackedDataset, minutes: float, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """As `atelier`, under autocast."""
    return atelier(family, data, minutes, folder, [*overrides, "train.precision=bfloat16"])


def mimicry(family: str, data: PackedDataset, minutes: float, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Trains for so many minutes."""
    settings = recipe(family, data, {}, overrides)
    peer = MimicryLoop(settings, data, choose_device("auto"))
    with contextlib.redirect_stdout(sys.stderr):
        peer.train(minutes * 60, folder / "mimicry")
    return _told(data, settings, peer.average, peer.images, peer.seconds, peer.begun, peak_megabytes(), folder)


def loop(family: str, data: PackedDataset, minutes: float, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Trains for so many minutes."""
    settings = recipe(family, data, {}, overrides)
    plain = PlainLoop(settings, data, choose_device("auto"))
    plain.train(minutes * 60)
    peak = peak_megabytes()
    return _told(data, settings, plain.average, plain.images, plain.seconds, plain.begun, peak, folder)


def _unmeasured(images: int, every: int) -> dict[str, Any]:
    """A budget without measurements on the way."""
    return {"train.images": images, "train.log_every": every, "train.save_every": images, "train.evaluate_from": 1.0}


def _train(settings: Settings, data: PackedDataset, folder: Path, observers: list[Observer]) -> None:
    device = choose_device("auto")

    def measure(_: Any) -> tuple[float, dict[str, Any]]:
        return 0.0, {"identity": {"metric": "none"}, "metrics": {}}

    run(
        Generation,
        settings.model,
        settings.train,
        {"data": data},
        folder / "model",
        folder / "states",
        measure,
        {},
        device,
        Ranks(),
        {},
        observers,
    )


def _told(
    data: PackedDataset,
    settings: Settings,
    generator: Generator,
    images: int,
    seconds: float,
    begun: float,
    peak: float,
    cache: Path,
) -> dict[str, Any]:
    chosen = settings.evaluate.model_copy(update={"metrics": ["frechet"]})
    evaluator = Evaluator(data, chosen, cache.parent / "cache", choose_device("auto"))
    measured = evaluator.measure(generator.eval(), data.classes if settings.model.conditional else ()).measurements[0]
    told = {"images": images, "seconds": seconds, "begun": begun, "megabytes": peak}
    return told | {"distance": measured.value, "metric": measured.name}


def report(args: argparse.Namespace) -> Iterator[str]:
    """Lines of the report."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    yield machine(("torch", "torchvision", "numpy"), gpu)
    yield ""
    told = dict[str, Any]()
    with tempfile.TemporaryDirectory() as scratch:
        rows: list[list[str]] = []
        for data, family in itertools.product(args.data, args.families):
            rows += _compared(data, family, "loop", args, Path(scratch), told)
        peers = (
            [row for data in args.data for row in _compared(data, PEER, "mimicry", args, Path(scratch), told)]
            if args.peer
            else []
        )
    header = [
        "data",
        "family",
        "trained by",
        "images",
        "s",
        "images/s",
        "times as fast",
        "distance",
        "of the loop's",
        "start, s",
        "beyond imports",
        "peak, MB",
    ]
    yield from table(header, rows)
    if peers:
        yield f"\nWithout labels, beside mimicry {_version()}:\n"
        yield from table(header, peers)
    yield ""
    yield f"The distance is {told['metric']}, of 1000 images of the moving average (mimicry has none) after equal seconds."


def _version() -> str:
    return next(found.version for found in metadata.distributions(name="torch-mimicry", path=[str(PLACE)]))


def _compared(
    data: Path, family: str, beside: str, args: argparse.Namespace, scratch: Path, told: dict[str, Any]
) -> list[list[str]]:
    """The rows of `beside` and of Atelier, in float32 and where the device has instructions for it in bfloat16."""
    overrides = args.set + (UNLABELLED if beside == "mimicry" else [])
    common = ["-m", "benchmarks.train", "--families", family, "--data", str(data), "--scratch", str(scratch)]
    common += [part for override in overrides for part in ("--set", override)]
    found: dict[str, dict[str, Any]] = {}
    minutes = args.minutes
    faster = ["bfloat16"] if native(choose_device("auto")) == "bfloat16" else []
    for side in ("atelier", beside, *faster):
        since = time.time()
        said = watched(f"{data}: {family}, {SIDES[side]}", [*common, "--side", side, "--minutes", str(minutes)])
        found[side] = json.loads(said.stdout.splitlines()[-3]) | {"since": since}
        minutes = found["atelier"]["seconds"] / 60
    told["metric"] = found[beside]["metric"]
    return [_row(data, family, SIDES[side], found[side], found[beside]) for side in (beside, "atelier", *faster)]


def _row(data: Path, family: str, name: str, one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    speed, theirs = one["images"] / one["seconds"], other["images"] / other["seconds"]
    return [
        data.name,
        family,
        name,
        f"{one['images']:,}",
        f"{one['seconds']:.0f}",
        f"{speed:.0f}",
        f"{speed / theirs:.2f}",
        f"{one['distance']:.1f}",
        f"{one['distance'] / other['distance']:.2f}",
        f"{one['begun'] - one['since']:.1f}",
        f"{one['begun'] - one['imported']:.1f}",
        f"{one['megabytes']:.0f}",
    ]


def main() -> None:
    """Measures, prints the table; with --side one side of it, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--families", nargs="+", choices=FAMILIES, default=list(COMPARED), metavar="NAME", help=f"default: {COMPARED}"
    )
    parser.add_argument("--minutes", type=float, default=2.0, help="of training for each side (default: 2)")
    parser.add_argument("--data", type=Path, nargs="+", default=[Path("data/base")], metavar="FOLDER", help="default: data/base")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a value of every recipe"
    )
    parser.add_argument("--peer", action="store_true", help=f"compare {PEER} without labels with mimicry's trainer, too")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table there, too")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    imported, args = time.time(), parser.parse_args()
    if not args.side:
        show(report(args), args.output)
        return
    side = {"atelier": atelier, "bfloat16": bfloat16, "loop": loop, "mimicry": mimicry}[args.side]
    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
        told = side(args.families[0], PackedDataset(args.data[0]), args.minutes, Path(folder), args.set)
    print(json.dumps(told | {"imported": imported}))


if __name__ == "__main__":
    cli.run(main)
