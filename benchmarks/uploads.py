"""What it costs to decode uploads in a process of their own: milliseconds a file, there and in this process.

The least of many, since other work only adds. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from atelier.provenance.reading import read
from atelier.serving.decoder import rebuilt
from atelier.serving.decoder_process import DecoderProcess
from benchmarks.measured import machine, show, table

SIDES, FORMS = (64, 256, 512), ("PNG", "JPEG", "WEBP")
MARKS = {"do": "marks", "anchors": "", "pixels": True}


def main() -> None:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.uploads", description=__doc__)
    made.add_argument("--times", type=int, default=60, metavar="N", help="each (default: 60)")
    times = made.parse_args().times
    process = DecoderProcess()
    rows = [_measured(process, side, form, times) for side in SIDES for form in FORMS]
    header = ["side", "file", "picture, aside, ms", "here", "marks, aside, ms", "here"]
    show([machine(["pillow", "c2pa-python"]), "", *table(header, rows)], None)


def _measured(process: DecoderProcess, side: int, form: str, times: int) -> list[str]:
    file = _photo(side, form)
    question = {"do": "picture", "side": side, "signed": False}
    calls: list[Callable[[], object]] = [
        lambda: rebuilt(*process.answer(question, file)),
        lambda: Image.open(io.BytesIO(file)).tobytes(),
        lambda: process.answer(MARKS, file),
        lambda: read(file, "", pixels=True),
    ]
    return [str(side), form, *(f"{_least(call, times):.2f}" for call in calls)]


def _least(call: Callable[[], object], times: int) -> float:
    """Milliseconds."""
    taken = []
    for _ in range(times + 1):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return 1000 * min(taken[1:])


def _photo(side: int, form: str) -> bytes:
    """A picture of soft colors."""
    colors = np.random.default_rng(0).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(colors).resize((side, side)).save(file, form)
    return file.getvalue()


if __name__ == "__main__":
    main()
