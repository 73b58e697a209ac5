"""Measures whether a denoiser keeps the light of stars and invents none, in star fields that nothing was trained on.

Fields are simulated, given to the model as pictures of 16 bits (components.generate), and measured beside the noisy ones, those
of a classical filter (hot pixels replaced, then non-local means), and those without noise. In each, the light of every star is
summed in a circle around its true place, less the sky of a ring around it; sources are searched for without knowing any, at one
threshold for all. Both by SEP, the library of Source Extractor.

    python photometry.py --model models/stars

writes the pictures, their catalogs, photometry.json and comparison.png into photometry/. Exits with an error where half of the
bright stars have a flux more than 2 % off, or more sources than 5 in a million pixels are invented.
"""

from __future__ import annotations

import argparse
import itertools
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sep
from PIL import Image
from scipy import ndimage
from skimage.restoration import denoise_nl_means
from star_fields import BANDS, WHITE, Field, Source, observed, simulate, stretched, write_16_bits, write_catalog

from atelier import command_line
from atelier.data.kept import kept
from atelier.data.process import Recipe
from atelier.errors import AtelierError
from atelier.io.files import atomic_folder, atomic_write, canonical_json
from atelier.io.progress import bar

OUTPUT, RESULT = Path("photometry"), "photometry.json"
SEED = 1  # of the first field; those that were trained on have others
APERTURE, RING = 4.0, (7.0, 11.0)  # pixels
ALONE = 0.3  # of a star's light: where the circle of a picture without noise is off by more, neighbors are in circle or ring
EDGE = 12  # pixels from an edge within which nothing is measured
BINS = 500.0, 1_000.0, 2_000.0, 5_000.0, 100_000.0  # photons of a star in a band
BRIGHT = 5_000.0  # photons: the noise of their own light and of the sky is 1.4 % of it or less
THRESHOLD, AREA = 1.5, 5  # deviations of the noisy sky over so many pixels
NEAR = {"star": 2.5, "galaxy": 6.0}  # pixels from a source within which what is found belongs to it
FAINTER = 0.25  # of the light that is found: a source with less does not explain it
MOST_OFF, MOST_INVENTED = 0.02, 5.0
SHOWN, ZOOM = 128, 2  # pixels of a field in the picture, and how large each is
AS_IT_IS = Recipe(1, len(BANDS), "whole", 0, "lanczos", "#000000", min_side=1, max_pixels=10**9)
NAMES = "noisy", "classical", "denoised", "truth"


class PhotometryError(AtelierError):
    """The stars are not as they were, or there is nothing to measure."""


class Found(NamedTuple):
    """What was measured in one picture: fluxes [stars, bands], which sources were found, and the rest of what was found."""

    fluxes: np.ndarray
    detected: np.ndarray
    invented: int


def main() -> None:
    """Simulates, denoises, measures, writes and says what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/stars", help="a checkpoint, or models:/NAME@ALIAS (default: models/stars)")
    parser.add_argument("--fields", type=int, default=8, help="simulated fields (default: 8)")
    parser.add_argument("--side", type=int, default=512, help="their side in pixels (default: 512)")
    args = parser.parse_args()
    if args.fields < 1 or args.side < SHOWN:
        raise PhotometryError(f"--fields is {args.fields} and --side {args.side}; give at least 1 and {SHOWN}")
    fields = [simulate(args.side, seed) for seed in range(SEED, SEED + args.fields)]
    with atomic_folder(OUTPUT, RESULT) as folder:
        pictures = {"truth": [field.photons for field in fields], **_pictures(folder, fields, args.model)}
        measured = measure(fields, pictures)
        atomic_write(folder / RESULT, canonical_json({"model": args.model, "side": args.side, "fields": args.fields, **measured}))
        Image.fromarray(comparison([pictures[name] for name in NAMES])).save(folder / "comparison.png")
    print(table(measured))
    check(measured["denoised"])


def _pictures(folder: Path, fields: Sequence[Field], model: str) -> dict[str, list[np.ndarray]]:
    """Photons by the kind of picture; writes noisy ones and catalogs, and denoises by the model. Raises PhotometryError."""
    for name in ("noisy", "catalogs"):
        (folder / name).mkdir()
    found: dict[str, list[np.ndarray]] = {"noisy": [], "classical": [], "denoised": []}
    with bar("filter", len(fields)) as progress:
        for number, field in enumerate(fields):
            path = folder / "noisy" / f"{number:06}.png"
            write_16_bits(path, observed(field.photons, np.random.default_rng([SEED + number, 2])))
            write_catalog(folder / "catalogs" / f"{number:06}.csv", field.sources)
            found["noisy"].append(read(path))
            found["classical"].append(classical(found["noisy"][-1]))
            progress.update(1)
    denoise(model, folder / "noisy", folder / "denoised")
    found["denoised"] = [read(folder / "denoised" / f"{number:06}.png") for number in range(len(fields))]
    return found


def denoise(model: str, noisy: Path, output: Path) -> None:
    """Fills a new folder with 000000.png and so on, what the model makes of pictures, in their order. Raises PhotometryError."""
    command = [sys.executable, "-m", "components.generate", "--model", model, "--image", str(noisy), "--output", str(output)]
    if subprocess.run(command).returncode:
        raise PhotometryError(f"{model}: could not denoise, as is said above")


def read(path: Path) -> np.ndarray:
    """Photons [H, W, 3] of a PNG of 16 bits."""
    return (kept(path.read_bytes(), AS_IT_IS).pixels / 65535.0) ** 2 * WHITE


def classical(photons: np.ndarray) -> np.ndarray:
    """Photons [H, W, 3] of a noisy picture without hot pixels, by non-local means (Buades et al. 2005) of their root."""
    noisy = stretched(photons)
    around = np.ones((3, 3, 1), bool)
    middle = ndimage.median_filter(noisy, footprint=around)
    around[1, 1] = False
    brightest = ndimage.maximum_filter(noisy, footprint=around)
    sigma = deviation(noisy)
    sky = np.median(noisy, axis=(0, 1))
    hot = noisy - sky > 3 * (brightest - sky).clip(0) + 5 * sigma  # steeper than any star
    clean = np.where(hot, middle, noisy)
    return non_local_means(clean, sigma) ** 2 * WHITE


def deviation(noisy: np.ndarray) -> float:
    """Of the noise of [H, W, C], if it is Gaussian: by the median of what neighbors differ by."""
    return float(np.median(abs(np.diff(noisy, axis=1)))) / 0.6745 / math.sqrt(2)


def non_local_means(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """[H, W, C] without noise of this deviation, as scikit-image's documentation sets it up."""
    return denoise_nl_means(noisy, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, channel_axis=2)


def measure(fields: Sequence[Field], pictures: dict[str, list[np.ndarray]]) -> dict[str, dict[str, Any]]:
    """By the kind of picture: the median of the flux's errors, signed and not, by bin and of bright stars; completeness by bin.

    Errors are shares of the same sum in the picture without noise, of stars that are alone there. Invented sources are counted in
    a million pixels. Raises PhotometryError.
    """
    thresholds = [THRESHOLD * sep.Background(_light(noisy)).globalrms for noisy in pictures["noisy"]]
    found = {
        name: [_found(picture, field, level) for picture, field, level in zip(of_kind, fields, thresholds, strict=True)]
        for name, of_kind in pictures.items()
    }
    inside = [_inside(field) for field in fields]
    stars = [np.array([one.kind == "star" for one in several], bool) for several in inside]
    true = np.concatenate([np.array([one[3:] for one in several if one.kind == "star"]).reshape(-1, 3) for several in inside])
    mean = true.mean(axis=1)
    reference = np.concatenate([one.fluxes for one in found["truth"]])
    alone = abs(reference / true - 1) <= ALONE
    area = sum((field.photons.shape[0] - 2 * EDGE) * (field.photons.shape[1] - 2 * EDGE) for field in fields) / 1e6
    bright = alone & (true >= BRIGHT)
    if not bright.any():
        raise PhotometryError(f"no star is brighter than {BRIGHT:,.0f} photons here; give more --fields, or a larger --side")
    measured: dict[str, dict[str, Any]] = {}
    for name, several in found.items():
        off = np.concatenate([one.fluxes for one in several]) / reference - 1
        known = np.concatenate([one.detected[star] for one, star in zip(several, stars, strict=True)])
        parts = [alone & (low <= true) & (true < high) for low, high in itertools.pairwise(BINS)]
        means = [(low <= mean) & (mean < high) for low, high in itertools.pairwise(BINS)]
        measured[name] = {
            "bias": [float(np.median(off[part])) for part in parts],
            "error": [float(np.median(abs(off[part]))) for part in parts],
            "complete": [float(known[part].mean()) for part in means],
            "stars": [int(part.sum()) for part in means],
            "bright_error": float(np.median(abs(off[bright]))),
            "bright_within": float((abs(off[bright]) <= MOST_OFF).mean()),
            "invented": sum(one.invented for one in several) / area,
        }
    return measured


def _light(photons: np.ndarray) -> np.ndarray:
    """The mean of the bands, as SEP takes it."""
    return np.ascontiguousarray(photons.mean(axis=2))


def _inside(field: Field) -> list[Source]:
    """The sources of a field that are not near its edge."""
    side = field.photons.shape[0] - 1
    return [one for one in field.sources if EDGE <= one.x <= side - EDGE and EDGE <= one.y <= side - EDGE]


def _found(photons: np.ndarray, field: Field, threshold: float) -> Found:
    """What SEP finds in a picture of a field."""
    known, side = _inside(field), photons.shape[0] - 1
    x, y = (np.array([getattr(one, name) for one in field.sources]) for name in "xy")
    stars = [one for one in known if one.kind == "star"]
    at = [one.x for one in stars], [one.y for one in stars]
    bands = [np.ascontiguousarray(photons[..., band]) for band in range(len(BANDS))]
    fluxes = np.stack([sep.sum_circle(band, *at, APERTURE, bkgann=RING)[0] for band in bands], axis=1)
    light = _light(photons)
    light -= sep.Background(light).back()
    sources = sep.extract(light, threshold, minarea=AREA)
    distance = np.hypot(sources["x"][:, None] - x, sources["y"][:, None] - y)  # [found, known]
    near = distance <= np.array([NEAR[one.kind] for one in field.sources])
    explains = near & (np.array([np.mean(one[3:]) for one in field.sources]) >= FAINTER * sources["flux"][:, None])
    far_in = (np.minimum(sources["x"], sources["y"]) >= EDGE) & (np.maximum(sources["x"], sources["y"]) <= side - EDGE)
    chosen = np.array([one in {*known} for one in field.sources], bool)
    return Found(fluxes, near.any(axis=0)[chosen], int((far_in & ~explains.any(axis=1)).sum()))


def comparison(kinds: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """A picture of corners of the first two fields, by kind from left to right: uint8 [H, W, 3], brightened as astronomers do."""
    rows = []
    for number in range(min(2, len(kinds[0]))):
        corners = [several[number][:SHOWN, :SHOWN] for several in kinds]
        sky = np.median(corners[-1], axis=(0, 1))
        light = [np.arcsinh((corner - sky) / 20) / np.arcsinh(100) + 0.15 for corner in corners]
        rows.append(np.concatenate(light, axis=1))
    pixels = (np.concatenate(rows) * 255).clip(0, 255).astype(np.uint8)
    return pixels.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)


def table(measured: dict[str, dict[str, Any]]) -> str:
    """The numbers as Markdown."""
    ends = [f"{low:,.0f} to {high:,.0f}" for low, high in itertools.pairwise(BINS)]
    lines = ["| | " + " | ".join(NAMES) + " |", "|---" * (len(NAMES) + 1) + "|"]
    kinds = [measured[name] for name in NAMES]
    for title, key, form in (("flux error", "error", ".2%"), ("flux bias", "bias", "+.2%"), ("found", "complete", ".1%")):
        for place, end in enumerate(ends):
            lines.append(f"| {title}, {end} photons | " + " | ".join(f"{one[key][place]:{form}}" for one in kinds) + " |")
    for title, key, form in (
        (f"flux error above {BRIGHT:,.0f}", "bright_error", ".2%"),
        (f"of those within {MOST_OFF:.0%}", "bright_within", ".1%"),
        ("invented sources a megapixel", "invented", ".1f"),
    ):
        lines.append(f"| {title} | " + " | ".join(f"{one[key]:{form}}" for one in kinds) + " |")
    return "\n".join(lines)


def check(denoised: dict[str, Any]) -> None:
    """Raises PhotometryError for a denoiser that is not to be used for photometry."""
    if denoised["bright_error"] > MOST_OFF or denoised["invented"] > MOST_INVENTED:
        raise PhotometryError(
            f"half of the stars above {BRIGHT:,.0f} photons are more than {denoised['bright_error']:.2%} off, and "
            f"{denoised['invented']:.1f} sources a megapixel are invented; {MOST_OFF:.0%} and {MOST_INVENTED:.0f} are allowed: "
            "train longer (finetune.images), or on fields like yours"
        )


if __name__ == "__main__":
    command_line.run(main)
