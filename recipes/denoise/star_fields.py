"""Simulated star fields with known truth: what the light is, what a camera makes of it, and how files hold both.

A field is the mean number of photons in each pixel and band: stars and galaxies over a sky, through an atmosphere. Files hold the
square root of that (Bernstein et al. 2010, PASP 122), in which the noise of photons is alike everywhere.
"""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.signal import fftconvolve

from atelier.io.files import atomic_write
from atelier.io.png import PngWriter

BANDS = "red", "green", "blue"
WHITE = 10_000  # photons in a pixel that is white
SKY = 80.0, 200.0  # photons of it in a pixel and band: the least and the most, as below
SLOPE = 0.1  # by how much of itself it rises or falls from edge to edge, at most
WIDTHS = 1.9, 3.4  # pixels: the full width at half maximum of a point
BETA = 2.5, 4.5  # how steep a Moffat profile is; a Gaussian is the limit
CROWDING = 1 / 1000, 1 / 150  # stars in a pixel; drawn evenly by orders of magnitude
FLUXES, POWER = (100.0, 30_000.0), 1.4  # photons of a star in green; their number falls by this power
REDNESS = 0.3  # deviation of ln(red / green), which is -ln(blue / green)
GALAXIES, GALAXY_FLUXES = 1 / 16_000, (1_000.0, 30_000.0)
DISCS = 1.5, 5.0  # pixels: the scale length of an exponential disc
READ_NOISE = 5.0  # photons: the deviation of what reading adds
HOT = 0.0002  # the share of values that a hot pixel raises
REACH = 24  # pixels around the middle of a star that it shines on


class Source(NamedTuple):
    """A star or galaxy: its middle in pixels (the first one's is 0, 0) and its photons in each band."""

    kind: str
    x: float
    y: float
    red: float
    green: float
    blue: float


class Field(NamedTuple):
    """Photons float64 [side, side, 3], and what they come from. `width`: of a point, at half its maximum, in pixels."""

    photons: np.ndarray
    sources: list[Source]
    width: float


def simulate(side: int, seed: int) -> Field:
    """A field of `side` pixels, drawn by the seed. Stars lie anywhere; of those beyond an edge only the light is there."""
    random = np.random.default_rng(seed)
    width, beta = random.uniform(*WIDTHS), random.uniform(*BETA)
    area = (side + 2 * REACH) ** 2
    stars = random.poisson(area * math.exp(random.uniform(*np.log(CROWDING))))
    galaxies = random.poisson(area * GALAXIES)
    kinds = ["star"] * stars + ["galaxy"] * galaxies
    places = random.uniform(-REACH, side + REACH, (len(kinds), 2))
    fluxes = [*_by_power(random, stars, FLUXES), *_by_power(random, galaxies, GALAXY_FLUXES)]
    red = np.exp(REDNESS * random.standard_normal(len(kinds)).clip(-1.5, 1.5))
    sources = [
        Source(kind, x, y, flux * one, flux, flux / one)
        for kind, (x, y), flux, one in zip(kinds, places, fluxes, red, strict=True)
    ]
    photons, discs = np.zeros((2, side + 2 * REACH, side + 2 * REACH, len(BANDS)))
    for source in sources:
        part, x, y = _around(source, side)
        if source.kind == "star":
            photons[part] += moffat(np.hypot(x, y), width, beta)[..., None] * source[3:]
        else:
            length, ratio, turn = random.uniform(*DISCS), random.uniform(0.3, 1), random.uniform(0, math.pi)
            discs[part] += disc(x, y, length, ratio, turn)[..., None] * source[3:]
    offsets = np.arange(-REACH, REACH + 1)
    point = moffat(np.hypot(offsets, offsets[:, None]), width, beta)
    photons += fftconvolve(discs, point[..., None] / point.sum(), mode="same", axes=(0, 1)).clip(0)
    inside = slice(REACH, REACH + side)
    across = np.linspace(-0.5, 0.5, side)
    rises, level = random.uniform(-SLOPE, SLOPE, 2), random.uniform(*SKY, len(BANDS))
    sky = (1 + rises[0] * across[:, None] + rises[1] * across)[..., None] * level
    return Field(photons[inside, inside] + sky, [one for one in sources if 0 <= one.x < side and 0 <= one.y < side], width)


def moffat(distance: np.ndarray, width: float, beta: float) -> np.ndarray:
    """Light of a point at a distance in pixels, of 1 in all: Moffat 1969, (beta - 1) / (pi a^2) (1 + (r / a)^2)^-beta."""
    a = width / (2 * math.sqrt(2 ** (1 / beta) - 1))
    return (beta - 1) / (math.pi * a**2) * (1 + (distance / a) ** 2) ** -beta


def disc(x: np.ndarray, y: np.ndarray, length: float, ratio: float, turn: float) -> np.ndarray:
    """Light of an exponential disc around (0, 0), of 1 in all: Freeman 1970, seen from a side and turned."""
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    return np.exp(-np.hypot(along, across / ratio) / length) / (2 * math.pi * length**2 * ratio)


def observed(photons: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """What a camera counts of them, of the same shape: photons vary, reading adds noise, some pixels are hot."""
    counted = random.poisson(photons) + READ_NOISE * random.standard_normal(photons.shape)
    hot = random.random(photons.shape) < HOT
    return np.where(hot, counted + (WHITE - counted) * random.random(photons.shape), counted)


def write_8_bits(path: Path, photons: np.ndarray, random: np.random.Generator) -> None:
    """A PNG of their square root, 255 for WHITE. It is rounded up as often as what is cut off is large.

    So the mean of what is faint stays, which a network learns. Raises WriteError.
    """
    levels = 255 * stretched(photons)
    levels = np.floor(levels + random.random(levels.shape)).clip(0, 255)
    file = io.BytesIO()
    Image.fromarray(levels.astype(np.uint8)).save(file, "PNG")
    atomic_write(path, file.getvalue())


def write_16_bits(path: Path, photons: np.ndarray) -> None:
    """A PNG of their square root, 65535 for WHITE. Raises WriteError."""
    values = np.rint(65535 * stretched(photons)).astype(np.uint16)
    file = io.BytesIO()
    writer = PngWriter(file, values.shape[1], values.shape[0], len(BANDS), 16, {}, None)
    writer.write(values)
    writer.close()
    atomic_write(path, file.getvalue())


def stretched(photons: np.ndarray) -> np.ndarray:
    """Photons -> values in [0, 1]."""
    return np.sqrt((photons / WHITE).clip(0, 1))


def write_catalog(path: Path, sources: list[Source]) -> None:
    """A CSV with a line for each. Raises WriteError."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(Source._fields)
    table.writerows((one.kind, *(f"{value:.2f}" for value in one[1:])) for one in sources)
    atomic_write(path, text.getvalue())


def _by_power(random: np.random.Generator, count: int, ends: tuple[float, float]) -> np.ndarray:
    """Fluxes between the ends, whose density falls as flux^-POWER: by the inverse of its integral."""
    low, high = (end ** (1 - POWER) for end in ends)
    return (low + (high - low) * random.random(count)) ** (1 / (1 - POWER))


def _around(source: Source, side: int) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """The part of a field with a margin of REACH that a source shines on; how far right [w] and below [h, 1] of it that lies."""
    spans = []
    for place in (source.y, source.x):
        middle = round(place) + REACH
        spans.append(slice(max(0, middle - REACH), min(side + 2 * REACH, middle + REACH + 1)))
    y, x = (np.arange(span.start, span.stop) - REACH - place for span, place in zip(spans, (source.y, source.x), strict=True))
    return (spans[0], spans[1]), x, y[:, None]
