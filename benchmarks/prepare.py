"""How long does it take to pack images, and in how much memory? Atelier beside the loop that public code bases write.

The loop: list the files, open each with Pillow, crop its center, resize it, save it as PNG into a zip. It neither checks nor
drops duplicates, and one process does it. Ours checks every file, drops what occurs twice, splits and writes shards with hashes;
it does so twice here, with all cores and with one, whose bytes have to be equal. The images are JPEG files of 256 x 192 pixels,
drawn here, a hundredth of them twice. Memory is the peak of the largest process; a tenth of the images shows what it depends on.
The last rows are the limit: Pillow's decoding and resizing, which both sides need, and nothing else, by forked processes.

    make bench-prepare
    .venv/bin/python -m benchmarks.prepare --images 1000
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from atelier.io.files import sha256_file
from atelier.io.progress import bar
from benchmarks.measured import Watched, machine, show, table, watched
from components import cli

SIDE, CLASSES, TWICE = 64, 10, 100  # one image of TWICE occurs twice
PIL_LOOP = """
import io, json, sys, zipfile
from pathlib import Path
from PIL import Image
from tqdm import tqdm
source, target, side = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
files = sorted(source.rglob("*.jpg"))
classes = sorted({file.parent.name for file in files})
labels = []
with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
    for number, file in enumerate(tqdm(files)):
        image = Image.open(file).convert("RGB")
        short = min(image.size)
        left, top = (image.width - short) // 2, (image.height - short) // 2
        image = image.crop((left, top, left + short, top + short)).resize((side, side), Image.Resampling.LANCZOS)
        encoded = io.BytesIO()
        image.save(encoded, "png", compress_level=0)
        name = f"{number // 1000:05}/img{number:08}.png"
        packed.writestr(name, encoded.getbuffer())
        labels.append([name, classes.index(file.parent.name)])
    packed.writestr("dataset.json", json.dumps({"labels": labels}))
"""
PIXELS_ALONE = """
import os, sys
from pathlib import Path
from PIL import Image
source, processes, side = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
files = sorted(source.rglob("*.jpg"))
def work(mine):
    for file in mine:
        with Image.open(file) as image:
            short = min(image.size)
            left, top = (image.width - short) // 2, (image.height - short) // 2
            image.resize((side, side), Image.Resampling.LANCZOS, (left, top, left + short, top + short))
def forked(mine):
    child = os.fork()
    if not child:
        work(mine)
        os._exit(0)
    return child
children = [forked(files[number::processes]) for number in range(processes)]
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
"""


def draw(count: int, folder: Path) -> None:
    """`count` JPEG files in CLASSES sub-folders: blurred noise with shapes on it, which compresses as photos do."""
    random = np.random.default_rng(0)
    content = b""
    with bar("draw", count) as shown:
        for number in range(count):
            if number % TWICE != 1:
                content = _picture(random)
            place = folder / f"class-{number % CLASSES}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number:06}.jpg").write_bytes(content)
            shown.update()


def _picture(random: np.random.Generator) -> bytes:
    coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    image = coarse.resize((256, 192), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(8):
        corners = np.sort(random.integers(0, 192, (2, 2)), axis=0)
        pen.ellipse(corners.flatten().tolist(), fill=tuple(random.integers(0, 256, 3).tolist()))
    encoded = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(0.7)).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def ours(name: str, images: Path, output: Path, workers: int) -> Watched:
    """Packs the folder with components.prepare."""
    settings = {"source": "folder", "path": str(images), "licence": "none", "resolution": SIDE, "channels": 3}
    changed = [part for key, value in settings.items() for part in ("--set", f"data.base.{key}={json.dumps(value)}")]
    changed += ["--set", f"data.target.resolution={SIDE}", "--set", "data.target.channels=3"]
    command = ["-m", "components.prepare", "--section", "data.base", "--output", str(output), "--workers", str(workers), *changed]
    return watched(name, command)


def hashes(folder: Path) -> dict[str, str]:
    """sha256 of each file of a packed set."""
    return {file.name: sha256_file(file) for file in sorted(folder.iterdir())}


def report(count: int) -> Iterator[str]:
    """Lines of the report. Ends with a message if bytes do not repeat."""
    yield machine(("pillow", "numpy"))
    yield ""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        rows = []
        for number in (count // 10, count):
            images = place / f"images-{number}"
            draw(number, images)
            loop = ["-c", PIL_LOOP, str(images), str(place / f"{number}.zip"), str(SIDE)]
            all_cores, one_core = place / f"all-{number}", place / f"one-{number}"
            theirs = watched(f"{number} images: loop", loop)
            both = ours(f"{number} images: Atelier", images, all_cores, 0)
            alone = ours(f"{number} images: Atelier, one process", images, one_core, 1)
            if hashes(all_cores) != hashes(one_core):
                sys.exit(f"{number} images: the bytes of all cores and of one process differ")
            cores = len(os.sched_getaffinity(0))
            floor = {
                processes: watched(f"{number} images: limit", ["-c", PIXELS_ALONE, str(images), str(processes), str(SIDE)])
                for processes in (cores, 1)
            }
            duplicates = str(json.loads((all_cores / "manifest.json").read_text())["duplicates"])
            for name, one, dropped in (
                ("Pillow loop into a zip", theirs, "–"),
                ("Atelier", both, duplicates),
                ("Atelier, one process", alone, duplicates),
                (f"decode and resize alone, {cores} processes", floor[cores], "–"),
                ("decode and resize alone, one process", floor[1], "–"),
            ):
                speed, ratio = f"{number / one.seconds:.0f}", f"{theirs.seconds / one.seconds:.2f}"
                rows.append([name, f"{number:,}", f"{one.seconds:.1f}", speed, ratio, f"{one.megabytes:.0f}", dropped])
    header = ["packing", "images", "s", "images/s", "times as fast", "peak, MB", "duplicates dropped"]
    yield from table(header, rows)
    yield ""
    yield "The bytes of Atelier's two are equal, file by file."


def main() -> None:
    """Measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10000, metavar="N", help="files (default: 10000)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table there, too")
    args = parser.parse_args()
    show(report(args.images), args.output)


if __name__ == "__main__":
    cli.run(main)
