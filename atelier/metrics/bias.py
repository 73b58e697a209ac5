"""The bias in a Fréchet distance: the distance that two samples of the real images of the same sizes would have.

Two samples of one distribution are the farther apart the fewer images they hold (Chong and Forsyth 2020, section 3). With fewer
images than features that can be nearly all of a distance, and no interval says so: it is about the draw of the images alone. The
real images themselves show how much it is: random samples of them that share no image. A Gaussian of their covariance does not:
it has as few directions as there are images, so that samples of it are at half the distance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from atelier.metrics.frechet import Moments, frechet_distance
from atelier.metrics.identity import Measurement

FEWEST = 8  # real images of which two samples, and two of half the size, can be drawn
ENOUGH = 4  # times the images of the smaller sample: of more in the larger one the distance is hardly less
DRAWN, DRAWS = 4000, 32  # images in all draws of one size together, and draws, at most; but one draw always
MOSTLY, SHARED = 0.5, 10.0
FRECHET, OF_REAL = "frechet", "real_frechet"  # kinds of values


def real_distance(features: np.ndarray, count: int, seed: int) -> float | None:
    """The Fréchet distance expected between `count` images and M others like the real ones of these features [M, d].

    The samples are drawn with `seed`. Where there are fewer than count + M real images, samples in that proportion and samples of
    half their size give the exponent of a power law, which leads to the sizes asked for. From a reference smaller than `count`
    both are of the harmonic mean of the sizes, which counts where bias goes by 1 / count + 1 / M. Against repeated draws from
    known distributions it is right within a quarter (tests/unit/metrics/test_bias.py). None with fewer than FEWEST real images.
    """
    known = len(features)
    if known < FEWEST or count < 2:
        return None
    first, second = float(count), float(min(known, ENOUGH * count))
    if count > known:
        first = second = 2 * count * known / (count + known)
    share = min(known / (first + second), 1.0)
    random = np.random.default_rng(seed)
    whole = _drawn(features, first * share, second * share, random)
    if share == 1:
        return whole
    half = _drawn(features, first * share / 2, second * share / 2, random)
    return whole * (whole / half) ** math.log2(1 / share) if half > 0 else whole


def _drawn(features: np.ndarray, first: float, second: float, random: np.random.Generator) -> float:
    """Mean distance of disjoint random samples of these sizes."""
    own = max(round(first), 2)
    other = min(max(round(second), 2), len(features) - own)
    values = []
    for _ in range(min(max(DRAWN // (own + other), 1), DRAWS)):
        order = random.permutation(len(features))
        values.append(frechet_distance(Moments.of(features[order[:own]]), Moments.of(features[order[own : own + other]])))
    return float(np.mean(values))


def beside(distance: Measurement, value: float) -> Measurement:
    """The distance of real images as a measurement, with its own identity."""
    identity = replace(
        distance.identity,
        kind=OF_REAL,
        metric=name_beside(distance),
        sampling="real images of the reference",
        parameters=f"{distance.identity.parameters}; expected of two samples in these numbers, drawn with the seed",
    )
    return Measurement(value, None, identity, higher_is_better=False)


def name_beside(distance: Measurement) -> str:
    """Name of what stands beside a distance: "real_fid" for "fid"."""
    return f"real_{distance.name}"


def mostly_bias(distance: Measurement, measured: Mapping[str, Measurement]) -> bool:
    """True where real images in the same numbers are more than half as far apart as this distance; False where that is not known.

    It is False too where the distance is a small part of theirs: then the two sets share images, and chance did not make it.
    """
    real = measured.get(name_beside(distance))
    return bool(real and MOSTLY * distance.value < real.value < SHARED * distance.value)


def of_real(distance: Measurement, measured: Mapping[str, Measurement]) -> str:
    """A phrase that says how far apart real images in the same numbers are; "" where that is not known."""
    real = measured.get(name_beside(distance))
    if real is None:
        return ""
    sizes = f"{real.identity.samples:,} and {real.identity.reference_count:,}"
    return f"two samples of real images in the same numbers ({sizes}) are about {real.value:.4g} apart"


def remarks(measurements: Sequence[Measurement], dim: int = 0) -> list[str]:
    """Remarks on distances that are mostly bias, with the remedy; with `dim` features, if known, also on those that may be."""
    measured = {one.name: one for one in measurements}
    remedy = "measure more images, or go by the kernel distance, which has no bias"
    said = []
    for one in measurements:
        own, real = one.identity.samples, one.identity.reference_count
        if mostly_bias(one, measured):
            said.append(f"most of {one.name} {one.value:.4g} is bias, for {of_real(one, measured)}; {remedy}")
        elif one.kind == FRECHET and name_beside(one) not in measured and min(own, real) < dim:
            few = f"{own:,} and {real:,} images are few for {dim:,} features, too few to say by how much"
            said.append(f"{one.name} {one.value:.4g} may be mostly bias: {few}; {remedy}")
    return said
