"""What the labels and the signature of an image cost: milliseconds and bytes a PNG, by its side.

  python -m benchmarks.provenance        (half a minute)

Times are processor time, the median of --repeat images. Plain is Pillow's PNG; labelled has text chunk and XMP; signed has the
manifest of a P-256 key besides, which is made for this; verified is one look at the signed file.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from atelier.provenance.findings import look
from atelier.provenance.keys import FOLDER, make, trusted
from atelier.provenance.leaving import labelled
from benchmarks.measured import machine, show, table

SIDES = 28, 64, 256, 1024
ABOUT: dict[str, Any] = {"model": "models:/digits/4", "weights": "9f" * 32, "seed": 7, "class": "7", "truncation": 1.0}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.provenance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=50, metavar="N", help="images of each kind (default: 50)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the table, for a page of docs/")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        key = make(Path(folder), "benchmark", "Atelier")
        for side in SIDES:
            picture = _picture(side)
            rows.append([str(side), *_measured(picture, key, args.repeat)])
    head = ["px", "plain, ms", "labelled, ms", "signed, ms", "verified, ms", "plain, bytes", "labelled, bytes", "signed, bytes"]
    show([machine(["c2pa-python", "pillow"]), "", *table(head, rows)], args.output)


def _measured(picture: Image.Image, key: Path, repeat: int) -> list[str]:
    """The row of a picture."""
    os.environ.pop(FOLDER, None)
    works: list[Callable[[], object]] = [lambda: _plain(picture), lambda: labelled(picture, ABOUT)]
    seconds = [_timed(work, repeat) for work in works]
    files = [_plain(picture), labelled(picture, ABOUT)]
    os.environ[FOLDER] = str(key)
    files.append(labelled(picture, ABOUT))
    anchors = trusted()
    seconds += [_timed(works[1], repeat), _timed(lambda: look(files[2], anchors), repeat)]
    return [*(f"{1000 * one:.1f}" for one in seconds), *(f"{len(file):,}" for file in files)]


def _picture(side: int) -> Image.Image:
    """Smooth colors with some noise, which compress about as photographs do."""
    ramp = np.linspace(0, 200, side)
    noise = np.random.default_rng(0).integers(0, 12, (side, side, 3))
    return Image.fromarray((np.stack([np.add.outer(ramp, ramp) / 2] * 3, axis=2) + noise).astype(np.uint8))


def _plain(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _timed(work: Callable[[], object], repeat: int) -> float:
    """The median of the seconds that it takes; the first time is not counted."""
    work()
    found = []
    for _ in range(repeat):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return statistics.median(found)


if __name__ == "__main__":
    main()
