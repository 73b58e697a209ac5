"""Does a set of 200,000 pictures pack, resume and train, and does an image then cost what it costs in a small set?

Small PNG files, drawn here, none twice, in ten sub-folders. Three sizes of the set, ten times as large each, are packed by
components.prepare from their files and once more from the shards that this made (source: webdataset), and trained on by dcgan,
read from the shards (as sets of more than 2 GiB are). Memory is the peak of the largest process; `own` is without the pages of
the mapped shards, which the system takes back at need. The cost of an image in packing is what each further one takes beyond the
next smaller set. Then the largest set is packed in parts, one of which is killed and made again, and a run on it is killed and
goes on: with the bytes of the whole.

    .venv/bin/python -m benchmarks.large                       10 minutes and more on 2 cores, 5 GB of disk
    .venv/bin/python -m benchmarks.large --images 2000
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from atelier.config.settings import load
from atelier.data.packed import PackedDataset
from atelier.data.parts import PIXELS
from atelier.io.files import sha256_file
from atelier.io.progress import bar
from atelier.tasks.generation.task import Generation
from atelier.training.distributed import Ranks, choose_device
from atelier.training.history import Observer
from atelier.training.run import run
from benchmarks.measured import Watched, machine, show, table, watched
from components import cli

SIDE, CLASSES, PARTS, AT_ONCE = 32, 10, 4, 1000
TRAINING = [
    "train.precision=float32",
    "train.on_alarm=warn",
    "train.images=6400",
    "train.batch=64",
    "train.save_every=1600",
    "train.log_every=1600",
    "train.evaluate_from=1.0",
]


def draw(count: int, folder: Path) -> None:
    """`count` pictures: four colors that run into one another and a rectangle, all of them from the seed."""
    random = np.random.default_rng(0)
    places = [folder / f"class-{number}" for number in range(CLASSES)]
    for place in places:
        place.mkdir(parents=True)
    across = np.linspace(0, 1, SIDE)[:, None]
    with bar("draw", count) as shown:
        for first in range(0, count, AT_ONCE):
            size = min(AT_ONCE, count - first)
            corners = random.random((size, 4, 1, 1, 3)) * 255
            top, bottom = (corners[:, n] * (1 - across) + corners[:, n + 1] * across for n in (0, 2))
            pictures = (top * (1 - across[:, None]) + bottom * across[:, None]).astype(np.uint8)
            for number, picture in enumerate(pictures, first):
                left, upper, width, height = random.integers(1, SIDE // 2, 4)
                picture[upper : upper + height, left : left + width] = random.integers(0, 256, 3)
                Image.fromarray(picture).save(places[number % CLASSES] / f"{number:06}.png", compress_level=1)
            shown.update(size)


def prepare(kind: str, images: Path, output: Path, *more: str) -> list[str]:
    """The command that packs them."""
    values = {"source": kind, "path": str(images), "licence": "none", "resolution": SIDE, "channels": 3}
    both = {f"{section}.{key}": value for section in ("data.base", "data.target") for key, value in values.items()}
    changed = [part for key, value in both.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    return ["-m", "components.prepare", "--section", "data.base", "--output", str(output), *changed, *more]


def hashes(folder: Path) -> dict[str, str]:
    """sha256 of each file of a packed set."""
    return {file.name: sha256_file(file) for file in sorted(folder.iterdir())}


def killed(name: str, command: list[str], output: Path) -> None:
    """Runs a part of packing and kills it as soon as it has written pixels. Ends with a message where it was done before."""
    print(f"{name} ...", file=sys.stderr)
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        if any(file.stat().st_size for file in output.parent.glob(f".*{output.name}*/*/{PIXELS}")):
            process.kill()
            break
        time.sleep(0.005)
    if process.wait() != -signal.SIGKILL:
        sys.exit(f"{name}: over before it was killed")


def costs(scratch: Path, counts: list[int]) -> Iterator[list[str]]:
    """A row for each size of the set."""
    before: tuple[int, Watched, Watched] | None = None
    for count in counts:
        images, packed = scratch / f"images-{count}", scratch / f"packed-{count}"
        draw(count, images)
        files = watched(f"{count} images: from files", prepare("folder", images, packed))
        tars = watched(f"{count} images: from tars", prepare("webdataset", packed, scratch / "again"))
        step = watched(f"{count} images: training", ["-m", "benchmarks.scale", "--step", str(packed), "--resident", "0"])
        row = [f"{count:,}"]
        for now, then in zip((files, tars), before[1:] if before else (None, None), strict=True):
            further = "–" if before is None or then is None else f"{1e6 * (now.seconds - then.seconds) / (count - before[0]):.0f}"
            row += [f"{now.seconds:.1f}", further, f"{now.megabytes:.0f}"]
        seconds, megabytes = map(float, step.stdout.split()[:2])
        yield [*row, f"{1e6 * seconds / 64:.0f}", f"{megabytes:.0f}", f"{step.megabytes:.0f}"]
        before = count, files, tars


def packed_in_parts(scratch: Path, count: int) -> str:
    """Packs the set in parts, the second of which is killed and made again."""
    images, parts = scratch / f"images-{count}", [scratch / f"part-{part}" for part in range(1, PARTS + 1)]
    for part, output in enumerate(parts, 1):
        command = prepare("folder", images, output, "--part", f"{part}/{PARTS}")
        if part == 2:
            killed(f"part {part}, killed", command, output)
            if output.exists():
                sys.exit("a killed part has left its folder")
        watched(f"part {part} of {PARTS}", command)
    merged = scratch / "merged"
    watched("merge", prepare("folder", images, merged, "--merge", *map(str, parts)))
    if hashes(merged) != hashes(scratch / f"packed-{count}"):
        sys.exit("the parts give other bytes than the whole")
    return f"Packed in {PARTS} parts, the second of them killed and made again: the bytes of the whole."


class Kill(Observer):
    """Kills its own process at the second point of the curves."""

    def point(self, point: dict[str, float]) -> None:
        """Counts images."""
        if point["images"] >= 3200:
            os.kill(os.getpid(), signal.SIGKILL)


def train(data: Path, place: Path, dies: bool) -> None:
    """A short run of dcgan on a packed set."""
    shape = [
        f"{section}.{key}={value}"
        for section in ("data.base", "data.target")
        for key, value in (("resolution", SIDE), ("channels", 3))
    ]
    chosen, device = load("params.yaml", [*shape, *TRAINING]), choose_device("auto")

    def measure(_: Any) -> tuple[float, dict[str, Any]]:
        return 0.0, {"identity": {"metric": "none"}, "metrics": {}}

    packed, observers = PackedDataset(data), [Kill()] if dies else []
    run(
        Generation,
        chosen.model,
        chosen.train,
        {"data": packed},
        place / "model",
        place / "states",
        measure,
        {},
        device,
        Ranks(),
        git={},
        observers=observers,
    )


def trained_again(scratch: Path, count: int) -> str:
    """Trains, kills, goes on, and compares with a run that nobody disturbed."""
    data = str(scratch / f"packed-{count}")
    command = ["-m", "benchmarks.large", "--train", data]
    print("training, killed ...", file=sys.stderr)
    if (
        subprocess.run([sys.executable, *command, str(scratch / "broken"), "--dies"], capture_output=True).returncode
        != -signal.SIGKILL
    ):
        sys.exit("training was not killed")
    for name in ("broken", "whole"):
        watched(f"training, {name}", [*command, str(scratch / name)])
    broken, whole = (sha256_file(scratch / name / "model" / "generator.safetensors") for name in ("broken", "whole"))
    if broken != whole:
        sys.exit("the run that was killed ends with other bytes")
    return "Trained, killed at 3,200 of 6,400 images and started again: the bytes of a run that nobody disturbed."


def report(args: argparse.Namespace) -> Iterator[str]:
    """Lines of the report. Ends with a message if bytes do not repeat."""
    yield machine(("pillow", "numpy", "torch"))
    yield ""
    with tempfile.TemporaryDirectory() as scratch:
        rows = list(costs(Path(scratch), [args.images // 100, args.images // 10, args.images]))
        packing = ["s", "µs a further image", "peak, MB"]
        header = ["images", *(f"files: {name}" for name in packing), *(f"tars: {name}" for name in packing)]
        yield from table([*header, "training: µs an image", "training: own, MB", "training: peak, MB"], rows)
        yield ""
        yield packed_in_parts(Path(scratch), args.images)
        yield trained_again(Path(scratch), args.images)


def main() -> None:
    """Measures, prints the table; with --train one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000, metavar="N", help="pictures of the largest set (default: 200000)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table there, too")
    parser.add_argument("--train", type=Path, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--dies", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        data, place = args.train
        train(data, place, args.dies)
    else:
        show(report(args), args.output)


if __name__ == "__main__":
    cli.run(main)
