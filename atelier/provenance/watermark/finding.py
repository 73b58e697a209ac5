"""Looks for watermarks in a picture, and says how probable such a find is by chance.

The statistic is the cosine of the angle between a picture's unit vector and a mark's direction. If the picture is not marked, its
vector is fixed and the direction, drawn by a secret, is uniform on the sphere of n dimensions, whatever the picture is. Then
P(cosine > c) = I_{1 - c^2}((n - 1) / 2, 1/2) / 2 for c > 0, exactly (Furon and Bas, "Broken Arrows", EURASIP Journal on
Information Security 2008; Fernandez et al., "Watermarking images in self-supervised latent spaces", ICASSP 2022). Many places,
sizes, angles and marks are tried, and Bonferroni's factor is their number, which holds however they depend on each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft2
from scipy.special import betainc, betaincinv

from atelier.provenance.watermark.spectrum import (
    COLUMNS,
    DIMENSIONS,
    ROWS,
    SIDE,
    analyzed,
    coefficients,
    flattened,
    resized,
    rotated,
)

SHIFTS = SIDE**2  # places of a picture that is whole
STEP = 1.035  # between sizes
SCALES = [STEP**power for power in range(-10, 4)]  # of a picture, relative to what was marked: 0.71 to 1.11
ANGLES = [-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0]
FINER = 2  # places a pixel, of a picture that was cropped or turned
ELSEWHERE = len(SCALES) * len(ANGLES) * SHIFTS * FINER**2
CLEAR = 1e-9  # probability at which no crops and turns are tried any more
LIMIT = 1e-6  # probability below which a mark is named
_BEST = 8  # geometries of a mark that are looked at more finely


@dataclass(frozen=True)
class Mark:
    """A mark that was looked for: its name, and how probable it is to find one of all candidates so clearly by chance.

    `scale` is the picture's size relative to the marked one, and `angle` what it was turned by, in degrees.
    """

    name: str
    probability: float
    scale: float = 1.0
    angle: float = 0.0


def tail(cosine: float) -> float:
    """The probability of a larger cosine between a fixed vector and a random one, both of DIMENSIONS real numbers."""
    half = 0.5 * float(betainc((DIMENSIONS - 1) / 2, 0.5, max(1 - cosine**2, 0.0)))
    return half if cosine > 0 else 1 - half


def chance(cosine: float, candidates: int, places: int) -> float:
    """The probability, corrected, to find any of so many candidates at any of so many places as clearly as by this cosine.

    Half of the error is spent on pictures as they are, half on those that were cut, made smaller or turned, hence 2.
    """
    return 2 * candidates * places * tail(cosine)


def needed(probability: float, candidates: int, places: int) -> float:
    """The cosine whose `chance` is this probability."""
    return float(np.sqrt(1 - betaincinv((DIMENSIONS - 1) / 2, 0.5, probability / (candidates * places))))


def cosines(unit: np.ndarray, directions: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The cosines of a picture's unit vector [COEFFICIENTS] and directions [..., COEFFICIENTS], moved to each place.

    Float [..., side, side]; [..., y, x] is for directions that are turned by y and x pixels of SIDE / side each.
    """
    half = np.zeros((*directions.shape[:-1], side, side // 2 + 1), np.complex64)
    half[..., ROWS, COLUMNS] = unit * directions.conj() * np.where(COLUMNS, side**2 / 2, side**2)  # of pairs one is given
    return np.asarray(irfft2(half, (side, side)))


def find(picture: np.ndarray, directions: Mapping[str, np.ndarray]) -> Mark:
    """The most probable mark in a picture, luminance [H, W] in levels, of candidates by name."""
    names, stacked = list(directions), np.stack(list(directions.values()))
    found = _as_it_is(analyzed(resized(picture)).unit, names, stacked)
    if found.probability < CLEAR:
        return found
    other = _elsewhere(picture, names, stacked)
    return min(found, other, key=lambda mark: mark.probability)


def find_together(pictures: Iterable[np.ndarray], directions: Mapping[str, np.ndarray]) -> Mark:
    """The most probable mark that pictures [H, W] in levels have in common, one or more, as they are.

    The sum of their vectors is as fixed as each is where none is marked, so that its probability is as exact, however alike the
    pictures are. Those below SIDE pixels have marks at the same place, which add up; larger ones do not.
    """
    total = np.sum([analyzed(resized(picture)).unit for picture in pictures], axis=0)
    length = max(float(np.linalg.norm(total)), 1e-12)
    return _as_it_is(total / length, list(directions), np.stack(list(directions.values())))


def _as_it_is(unit: np.ndarray, names: list[str], directions: np.ndarray) -> Mark:
    """The most probable mark in a vector of length 1, at any place."""
    best = _strongest(cosines(unit, directions))
    which = int(best.argmax())
    return Mark(names[which], min(1.0, chance(best[which], len(names), SHIFTS)))


def _strongest(cosines: np.ndarray) -> np.ndarray:
    """Of [N, h, w] the largest of each."""
    return np.asarray(cosines.reshape(len(cosines), -1).max(axis=1))


def _elsewhere(picture: np.ndarray, names: list[str], directions: np.ndarray) -> Mark:
    """The most probable mark at other sizes and angles, whose clearest finds at whole pixels are looked at more finely."""
    tried = []
    for scale in SCALES:
        flat, _ = flattened(resized(picture, scale))
        for angle in ANGLES:
            unit, _ = coefficients(rotated(flat, angle))
            strongest = _strongest(cosines(unit, directions))
            which = int(strongest.argmax())
            tried.append((float(strongest[which]), which, unit, scale, angle))
    tried.sort(key=lambda one: -one[0])
    finer = []
    for _, which, unit, scale, angle in tried[:_BEST]:
        clearest = float(cosines(unit, directions[which], SIDE * FINER).max())
        finer.append(Mark(names[which], min(1.0, chance(clearest, len(names), ELSEWHERE)), scale, angle))
    return min(finer, key=lambda mark: mark.probability)
