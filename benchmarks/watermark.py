"""What the watermark costs and outlives, and how often one is found where none is, on sets of real images.

  python -m benchmarks.watermark photos=mednist.zip drawings=emoji.zip        (some minutes of one core)

Each set is a ZIP file of pictures, brought to --side pixels over white. Tables: what is found among 100 versions at p < 1e-6
after each change; false positives over random keys; the time of a picture. The Fréchet distance is that of EfficientNet-Lite0
between the first 200 images and 600 further ones, without a mark and with it. Pictures of --small pixels are looked at together:
shares of groups, one after the other, that are named. --pictures FILE shows each set plain, light, full, then the same small.

  python -m benchmarks.watermark --weights models/base --real data/base       (a minute)

tells instead what a mark in the weights of a checkpoint's generator costs and is worth, with packed real images for the distance.
"""

from __future__ import annotations

import argparse
import io
import itertools
import statistics
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from atelier.data.packed import PackedDataset
from atelier.extractors import load_extractor
from atelier.io.pictures import grid
from atelier.io.transparency import opaque
from atelier.metrics.frechet import Moments, frechet_distance
from atelier.models.model import load_generator, sample
from atelier.models.watermarked import watermarked
from atelier.provenance.findings import pixels
from atelier.provenance.watermark import finding, spectrum
from atelier.provenance.watermark.finding import LIMIT, find, find_together
from atelier.provenance.watermark.key import Secret, Strength
from atelier.provenance.watermark.marking import marked
from benchmarks.measured import machine, show, table

SECRET = Secret(bytes(range(32)), ("digits",), "full")
MARK = "digits/4"
STRENGTHS: tuple[Strength, ...] = "light", "full"
SHOWN = 10  # pictures a row
TIMED, OF_TIMES = (64, 256, 1024), 10  # pixels, and pictures of each set
DISTANT = 200, 600  # images on either side of the Fréchet distance
OF_WEIGHTS = 500  # where a generator makes them

NEAREST = Image.Resampling.NEAREST

Change = Callable[[Image.Image], Image.Image]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.watermark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="*", metavar="NAME=ZIP", help="pictures in a ZIP file, and what they are called")
    parser.add_argument("--weights", type=Path, metavar="FOLDER", help="a checkpoint, whose weights are marked instead")
    parser.add_argument("--real", type=Path, metavar="FOLDER", help="packed images that it was trained on")
    parser.add_argument("--side", type=int, default=64, metavar="N", help="pixels a side (default: 64)")
    parser.add_argument("--count", type=int, default=40, metavar="N", help="pictures of each set that are changed (default: 40)")
    parser.add_argument(
        "--unmarked", type=int, default=10_000, metavar="N", help="pictures without a mark, of the sets in turn (default: 10000)"
    )
    parser.add_argument("--pictures", type=Path, metavar="FILE", help="where plain and marked ones stand side by side")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the tables, for a page of docs/")
    parser.add_argument("--small", type=int, default=32, metavar="N", help="pixels a side of small pictures (default: 32)")
    args = parser.parse_args()
    if args.weights and args.real:
        show(_in_weights(args.weights, args.real, args.pictures), args.output)
        return
    if not args.sets or args.weights or args.real:
        parser.error("give sets, or --weights and --real")
    sets = {name: read(Path(path), args.side) for name, _, path in (one.partition("=") for one in args.sets)}
    rows, shown = [], []
    for name, pictures in sets.items():
        done = {strength: _all_marked(pictures[: DISTANT[0]], strength) for strength in STRENGTHS}
        distances = _distances([pictures[: DISTANT[0]], *done.values()], pictures[DISTANT[0] : sum(DISTANT)])
        for strength, marked_ones in done.items():
            rows.append([name, strength, *_outlived(pictures, marked_ones, args.count)])
            rows[-1][4:4] = [distances[0], distances[1 + STRENGTHS.index(strength)]]
        shown += [one.convert("RGB") for few in (pictures, *done.values()) for one in few[:SHOWN]]
    small_rows: list[list[str]] = []
    for name, _, path in (one.partition("=") for one in args.sets):
        few = read(Path(path), args.small, SMALL_ONES)
        done = {strength: _all_marked(few, strength) for strength in STRENGTHS}
        small_rows += ([name, strength, *row] for strength, ones in done.items() for row in _outlived_together(few, ones))
        several = (few, *done.values())
        shown += [one.convert("RGB").resize((args.side, args.side), NEAREST) for ones in several for one in ones[:SHOWN]]
    if args.pictures:
        grid(np.stack([np.asarray(one).transpose(2, 0, 1) for one in shown]), SHOWN).save(args.pictures)
    lines = [machine(["numpy", "pillow", "scipy"]), "", *table(["set", "strength", *PRICES, *CHANGES], rows), ""]
    lines += [*table([f"{args.small} px", "strength", "PSNR, dB", "least", "together", *CHANGES_OF_SMALL], small_rows), ""]
    lines += [*table(["unmarked", "tests", *(f"p < {level:g}" for level in LEVELS)], _by_chance(sets, args.unmarked)), ""]
    lines += table(
        ["px", "marked, ms", "found as it is, ms", "looked at for crops and turns, ms"], [_timed(side, sets) for side in TIMED]
    )
    show(lines, args.output)


def read(path: Path, side: int, most: int | None = None) -> list[Image.Image]:
    """The pictures of a ZIP file in a fixed random order, at most so many, square, over white; gray ones stay gray."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith((".png", ".jpg", ".jpeg")))
        np.random.default_rng(0).shuffle(names)
        return [_square(archive.read(name), side) for name in names[:most]]


def _square(content: bytes, side: int) -> Image.Image:
    picture: Image.Image = Image.open(io.BytesIO(content))
    if picture.mode != "L":
        picture = opaque(picture, "RGB", "#ffffff")
    return picture if picture.size == (side, side) else picture.resize((side, side), Image.Resampling.LANCZOS)


def _all_marked(pictures: list[Image.Image], strength: Strength) -> list[Image.Image]:
    return [marked(one, SECRET.direction(MARK), strength) for one in pictures]


def _jpeg(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


def _scaled(picture: Image.Image, factor: float) -> Image.Image:
    return picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.BICUBIC)


def _blurred(picture: Image.Image) -> Image.Image:
    whole = np.asarray(picture)
    return Image.fromarray(gaussian_filter(whole, (1, 1, 0)[: whole.ndim]))


def _noisy(picture: Image.Image, deviation: float) -> Image.Image:
    whole = np.asarray(picture)
    own = zlib.crc32(whole.tobytes())  # other noise than that of the trials, and than that of the next picture
    noise = np.random.default_rng(own).normal(0, deviation, whole.shape)
    return Image.fromarray(np.clip(np.rint(whole + noise), 0, 255).astype(np.uint8))


def _cropped(picture: Image.Image, share: float = 0.75) -> Image.Image:
    left, top, width, height = (round(share * side) for side in (picture.width * 0.2, picture.height * 0.1, *picture.size))
    return picture.crop((left, top, left + width, top + height))


CHANGES: dict[str, Change] = {
    "as it is": lambda one: one,
    "JPEG 75": lambda one: _jpeg(one, 75),
    "JPEG 50": lambda one: _jpeg(one, 50),
    "half": lambda one: _scaled(one, 0.5),
    "half, JPEG 75": lambda one: _jpeg(_scaled(one, 0.5), 75),
    "blur 1 px": _blurred,
    "noise 5": lambda one: _noisy(one, 5),
    "noise 13": lambda one: _noisy(one, 13),
    "x 0.8": lambda one: _scaled(one, 0.8),
    "x 1.25": lambda one: _scaled(one, 1.25),
    "crop 90 %": lambda one: _cropped(one, 0.9),
    "crop 75 %": _cropped,
    "crop 75 %, JPEG 75": lambda one: _jpeg(_cropped(one), 75),
    "turned 5°": lambda one: one.rotate(5, Image.Resampling.BICUBIC),
}
PRICES = ["PSNR, dB", "least", "Fréchet, plain", "marked"]


def _outlived(plain: list[Image.Image], done: list[Image.Image], count: int) -> list[str]:
    """What a strength costs in dB, and the shares of marks that are found: p of the right one, times all candidates' number."""
    ratios = _ratios(plain[:count], done[:count])
    right, candidates = {MARK: SECRET.direction(MARK)}, len(SECRET.candidates())
    shares = []
    for change in CHANGES.values():
        found = [candidates * find(pixels(change(one)), right).probability for one in done[:count]]
        shares.append(f"{np.mean([one < LIMIT for one in found]):.2f}")
    return [f"{statistics.fmean(ratios):.1f}", f"{min(ratios):.1f}", *shares]


def _ratios(plain: list[Image.Image], done: list[Image.Image]) -> list[float]:
    """The PSNR of each picture, in dB."""
    errors = [np.mean((np.asarray(a, float) - np.asarray(b)) ** 2) for a, b in zip(plain, done, strict=True)]
    return [float(10 * np.log10(255**2 / max(error, 1e-9))) for error in errors]


SMALL_ONES = 512
TOGETHER = 1, 4, 16, 64
CHANGES_OF_SMALL = "as it is", "JPEG 75", "half", "noise 5", "x 1.25"


def _outlived_together(plain: list[Image.Image], done: list[Image.Image]) -> list[list[str]]:
    """For each number that is looked at together: the cost in dB, the number, and the shares of such groups that are named."""
    right, candidates = {MARK: SECRET.direction(MARK)}, len(SECRET.candidates())
    ratios = _ratios(plain, done)
    changed = [[pixels(CHANGES[name](one)) for one in done] for name in CHANGES_OF_SMALL]
    rows = []
    for count in TOGETHER:
        groups = range(0, len(done) - count + 1, count)
        found = [
            [candidates * find_together(every[first : first + count], right).probability for first in groups] for every in changed
        ]
        shares = (f"{np.mean([p < LIMIT for p in one]):.2f}" for one in found)
        rows.append([f"{statistics.fmean(ratios):.1f}", f"{min(ratios):.1f}", str(count), *shares])
    return rows


def _in_weights(checkpoint: Path, packed: Path, pictures: Path | None) -> list[str]:
    """What marks in a generator's weights are worth; `pictures` shows its images, then those of light and full marks."""
    plain = load_generator(checkpoint)
    real = PackedDataset(packed)
    extractor = load_extractor("efficientnet_lite0", "packaged", (real.resolution, real.resolution))
    measured = Moments.of(extractor.features(real.images(np.arange(min(len(real), OF_WEIGHTS)))))
    made, prices = {"none": plain}, dict[str, list[str]](none=["", "", "", "", ""])
    for strength in STRENGTHS:
        began = time.process_time()
        made[strength], price = watermarked(plain, SECRET.direction(MARK), strength)
        shares = (f"{share:.2f}" for share in (price.found, price.found_as_jpeg))
        prices[strength] = [str(price.together), *shares, f"{price.psnr:.1f}", f"{time.process_time() - began:.0f}"]
    images = {name: np.concatenate(list(sample(one, OF_WEIGHTS, seed=1))) for name, one in made.items()}
    distances = [frechet_distance(Moments.of(extractor.features(one)), measured) for one in images.values()]
    if pictures:
        grid(np.concatenate([one[: 2 * SHOWN] for one in images.values()]), 2 * SHOWN).save(pictures)
    rows = [[name, *prices[name], f"{distance:.0f}"] for name, distance in zip(images, distances, strict=True)]
    heads = ["mark in weights", "together", "named", "after JPEG 75", "PSNR, dB", "s of a core", "Fréchet"]
    return [*table(heads, rows), "", machine(["torch", "numpy", "pillow"])]


def _distances(several: list[list[Image.Image]], real: list[Image.Image]) -> list[str]:
    """The Fréchet distances of lists of pictures to the real ones."""
    extractor = load_extractor("efficientnet_lite0", "packaged", real[0].size[::-1])
    first, *others = (
        Moments.of(extractor.features(np.stack([np.asarray(one.convert("RGB")).transpose(2, 0, 1) for one in pictures])))
        for pictures in (real, *several)
    )
    return [f"{frechet_distance(one, first):.0f}" for one in others]


LEVELS = 1e-1, 1e-2, 1e-3, 1e-4, LIMIT
UNMARKED: dict[str, Change] = {"plain": CHANGES["as it is"], "JPEG 75": CHANGES["JPEG 75"], "noise 13": CHANGES["noise 13"]}


def _by_chance(sets: dict[str, list[Image.Image]], count: int) -> list[list[str]]:
    """Rows: how many pictures without a mark have a p below each level, each picture with 11 candidates of its own key.

    As they are, that is; crops and turns take a hundred times as long: one candidate and the first fortieth of pictures.
    """
    in_turn = (one for pictures in itertools.zip_longest(*sets.values()) for one in pictures if one)
    together = list(itertools.islice(in_turn, count))
    rows = []
    for name, change in UNMARKED.items():
        whole = [_as_it_is(change(one), number) for number, one in enumerate(together)]
        rows.append([f"{name}, as it is", f"{len(whole):,}", *(str(sum(p < level for p in whole)) for level in LEVELS)])
        all_ways = [
            find(pixels(change(one)), _candidates(number, 1)).probability for number, one in enumerate(together[: count // 40])
        ]
        rows.append([f"{name}, all ways", f"{len(all_ways):,}", *(str(sum(p < level for p in all_ways)) for level in LEVELS)])
    return rows


def _candidates(number: int, count: int) -> dict[str, np.ndarray]:
    key = Secret(number.to_bytes(32, "big"), ("digits",), "full")
    return {name: key.direction(name) for name in key.candidates(count)[:count]}


def _as_it_is(picture: Image.Image, number: int) -> float:
    directions = np.stack(list(_candidates(number, 11).values()))
    cosines = finding.cosines(spectrum.analyzed(spectrum.resized(pixels(picture))).unit, directions)
    return len(directions) * finding.SHIFTS * finding.tail(float(cosines.max()))


def _timed(side: int, sets: dict[str, list[Image.Image]]) -> list[str]:
    """Processor time of pictures in color, the first of each set, enlarged where they are smaller: medians; 100 versions."""
    pictures = [
        one.convert("RGB").resize((side, side), Image.Resampling.BICUBIC) for few in sets.values() for one in few[:OF_TIMES]
    ]
    candidates = {one: SECRET.direction(one) for one in SECRET.candidates()}
    done = [marked(one, SECRET.direction(MARK), "full") for one in pictures]
    works: list[Callable[[int], object]] = [
        lambda place: marked(pictures[place], SECRET.direction(MARK), "full"),
        lambda place: find(pixels(done[place]), candidates),
        lambda place: find(pixels(pictures[place]), candidates),
    ]
    return [
        str(side),
        *(f"{1000 * statistics.median(_seconds(work, place) for place in range(len(done))):.1f}" for work in works),
    ]


def _seconds(work: Callable[[int], object], place: int) -> float:
    began = time.process_time()
    work(place)
    return time.process_time() - began


if __name__ == "__main__":
    main()
