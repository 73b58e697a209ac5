"""Large pictures in tiles: `components.generate --tile` beside a tiler as Real-ESRGAN has it, with the same model and pictures.

The *tiler* reads a file, cuts it into tiles with 10 pixels around each, restores one after the other into a map of the whole
result, and writes a PNG file; Atelier's have as much around them as the network looks at, and go to the file row by row. Each is
a process of its own. Seconds are those of the pictures, memory is the peak of the process beyond what it had when all was
imported and the model loaded. Afterwards both are compared with what the network makes of a whole picture, in levels of 255.

    .venv/bin/python -m benchmarks.restoration --compare srresnet       which trains the model first
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from atelier.data.packed import PackedDataset
from atelier.models.model import from_uint8, load_generator, to_uint8
from atelier.models.tiles import translated
from atelier.networks.base import Translator
from benchmarks.measured import peak_megabytes, watched
from components import cli, generate

TILE, PAD = 128, 10  # pixels a side of a tile of what goes in, and what the tiler has around it, its default
HEIGHT, WIDTH, PICTURES = 320, 480, 2  # of what is enlarged: the middle of held-out photos
IMPORTED = ("atelier.models.own_size", "atelier.registry.fetch")  # by components.generate, once it has read its options
SIDES = {"tiler": "tiler, 10 px around", "atelier": "Atelier"}
HEADER = ["model", "in tiles by", "pictures", "s a picture", "times as fast", "peak beyond, MB", "greatest difference"]


def tiled(generator: Translator, picture: Tensor, tile: int, pad: int) -> Tensor:
    """[1, C, H, W] -> [1, C, scale * H, scale * W], as public code does it."""
    (name,) = generator.takes
    scale = generator.shape.resolution // generator.takes[name].resolution  # type: ignore[union-attr]
    height, width = picture.shape[2:]
    made = picture.new_zeros(1, generator.shape.channels, height * scale, width * scale)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(top + tile, height), min(left + tile, width)
            above, before = max(top - pad, 0), max(left - pad, 0)
            given = picture[:, :, above : min(bottom + pad, height), before : min(right + pad, width)]
            with torch.no_grad():
                part = generator(**{name: given})
            rows = slice((top - above) * scale, (bottom - above) * scale)
            columns = slice((left - before) * scale, (right - before) * scale)
            made[:, :, top * scale : bottom * scale, left * scale : right * scale] = part[:, :, rows, columns]
    return made


def tiler(model: Path, pictures: Path, output: Path) -> dict[str, float]:
    """Seconds, memory and the greatest difference of the tiler."""
    generator = load_generator(model)
    assert isinstance(generator, Translator)
    before, since = peak_megabytes(), time.monotonic()
    output.mkdir()
    for file in sorted(pictures.iterdir()):
        made = tiled(generator, _read(file), TILE, PAD)
        Image.fromarray(to_uint8(made)[0].transpose(1, 2, 0)).save(output / file.name)
    spent = {"seconds": time.monotonic() - since, "megabytes": peak_megabytes() - before}
    picture = _read(min(pictures.iterdir()))
    return spent | {"difference": _difference(generator, picture, tiled(generator, picture, TILE, PAD))}


def atelier(model: Path, pictures: Path, output: Path) -> dict[str, float]:
    """The same of Atelier."""
    generator = load_generator(model)
    assert isinstance(generator, Translator)
    for module in IMPORTED:
        import_module(module)
    before, since = peak_megabytes(), time.monotonic()
    with contextlib.redirect_stdout(sys.stderr):
        generate.generate(model, output, output.parent / "cache", image=str(pictures), tile=TILE, device="cpu")
    spent = {"seconds": time.monotonic() - since, "megabytes": peak_megabytes() - before}
    picture = _read(min(pictures.iterdir()))
    return spent | {"difference": _difference(generator, picture, translated(generator, picture[0], TILE)[None])}


def rows(name: str, model: Path, data: Path) -> list[list[str]]:
    """Of the table, for a trained model and a packed set whose held-out pictures are enlarged."""
    held_out = PackedDataset(data, "test")
    with tempfile.TemporaryDirectory() as scratch:
        (pictures := Path(scratch) / "pictures").mkdir()
        for number in range(PICTURES):
            (picture,) = held_out.picture(number).values()
            top, left = (picture.shape[1] - HEIGHT) // 2, (picture.shape[2] - WIDTH) // 2
            middle = np.ascontiguousarray(picture[:, top : top + HEIGHT, left : left + WIDTH].transpose(1, 2, 0))
            Image.fromarray(middle).save(pictures / f"{number}.png")
        found = dict[str, dict[str, Any]]()
        for side in SIDES:
            command = ["-m", "benchmarks.restoration_tiles", side, str(model), str(pictures), str(Path(scratch) / side)]
            found[side] = json.loads(watched(f"{name}, {SIDES[side]}, tiles", command).stdout.splitlines()[-3])
    return [_row(name, side, found[side], found["tiler"]) for side in SIDES]


def _row(name: str, side: str, one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [
        name,
        SIDES[side],
        str(PICTURES),
        f"{one['seconds'] / PICTURES:.2f}",
        f"{other['seconds'] / one['seconds']:.2f}",
        f"{one['megabytes']:.0f}",
        f"{one['difference']:.1g}",
    ]


def _read(file: Path) -> Tensor:
    """A picture [1, C, H, W] in [-1, 1]."""
    with Image.open(file) as picture:
        return from_uint8(torch.from_numpy(np.asarray(picture.convert("RGB")).transpose(2, 0, 1).copy())[None])


@torch.no_grad()
def _difference(generator: Translator, picture: Tensor, made: Tensor) -> float:
    """The greatest one between what was made of a picture in tiles and as a whole, in levels of 255."""
    (name,) = generator.takes
    whole = generator(**{name: picture}).clamp(-1, 1)
    return float((made.clamp(-1, 1) - whole).abs().max()) * 127.5


def main() -> None:
    """Prints one side as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=SIDES)
    for name, what in (("model", "its folder"), ("pictures", "folder of PNG files"), ("output", "where the larger ones go")):
        parser.add_argument(name, type=Path, help=what)
    args = parser.parse_args()
    print(json.dumps({"tiler": tiler, "atelier": atelier}[args.side](args.model, args.pictures, args.output)))


if __name__ == "__main__":
    cli.run(main)
