"""What a log of fingerprints names after a picture was changed, and how often it names one that is not in it.

  python -m benchmarks.image_log photos=mednist.zip drawings=emoji.zip --side 32        (some minutes of one core)

The first --logged pictures of each set, brought to --side pixels, are logged; the first --count of them are looked for after each
change, and as many that were not logged. Sets hold pictures that are nearly the same (slices of one body, skin tones of one
emoji): a logged neighbor of a picture that is not in the log counts as wrong, and hides the picture itself where both are logged.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from PIL import Image

from atelier.provenance.findings import pixels
from atelier.provenance.log import find_logged, note
from benchmarks.measured import machine, show, table
from benchmarks.watermark import CHANGES, read

CHANGED = ("as it is", "JPEG 75", "half", "noise 5", "x 1.25", "crop 90 %", "crop 75 %", "crop 75 %, JPEG 75")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.image_log", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", metavar="NAME=ZIP", help="pictures in a ZIP file, and what they are called")
    parser.add_argument("--side", type=int, default=32, metavar="N", help="pixels a side (default: 32)")
    parser.add_argument("--logged", type=int, default=2000, metavar="N", help="pictures of each set in its log (default: 2000)")
    parser.add_argument("--count", type=int, default=100, metavar="N", help="pictures that are looked for (default: 100)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the tables, for a page of docs/")
    args = parser.parse_args()
    rows, times = [], []
    for name, _, path in (one.partition("=") for one in args.sets):
        with tempfile.TemporaryDirectory() as folder:
            pictures, log = read(Path(path), args.side, args.logged + args.count), Path(folder) / "log"
            logged, others = pictures[: args.logged], pictures[args.logged : args.logged + args.count]
            noted = [_timed(log, number, one) for number, one in enumerate(logged)]
            began = time.process_time()
            rows += [[name, change, *_named(log, change, logged[: args.count], others)] for change in CHANGED]
            looked = (time.process_time() - began) / (len(CHANGED) * (args.count + len(others)))
            size = log.stat().st_size / len(logged)
        times.append([name, f"{len(logged):,}", f"{1000 * statistics.median(noted):.1f}", f"{size:.0f}", f"{1000 * looked:.0f}"])
    lines = [machine(["numpy", "pillow", "scipy"]), ""]
    lines += [*table([f"{args.side} px", "change", "named", "named wrongly", "not logged, named"], rows), ""]
    lines += table(["set", "logged", "noted, ms", "bytes each", "looked for, ms"], times)
    show(lines, args.output)


def _timed(log: Path, number: int, picture: Image.Image) -> float:
    seen = pixels(picture)
    began = time.process_time()
    note(log, seen, {"model": "models:/benchmark/1", "seed": number})
    return time.process_time() - began


def _named(log: Path, change: str, logged: list[Image.Image], others: list[Image.Image]) -> list[str]:
    """Shares of the logged ones that are named rightly and wrongly, and of the others that are named."""
    found = [find_logged(log, pixels(CHANGES[change](one))) for one in logged]
    right = sum(one.about["seed"] == number for number, one in enumerate(found) if one)
    wrong = sum(one is not None for one in found) - right
    false = sum(find_logged(log, pixels(CHANGES[change](one))) is not None for one in others)
    return [f"{right / len(logged):.2f}", f"{wrong / len(logged):.2f}", f"{false / max(len(others), 1):.2f}"]


if __name__ == "__main__":
    main()
