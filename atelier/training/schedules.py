"""Schedules, as pure functions of the images seen."""

from __future__ import annotations

import math


def cosine(start: float, end: float, progress: float) -> float:
    """From `start` to `end` along half a cosine; `progress` in [0, 1] (Loshchilov & Hutter 2017, eq. 5, without restarts)."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def ema_decay(images: int, half_life: int, ramp: float, seen: int) -> float:
    """Decay of the moving average for a step of `images`: after `half_life` images an old weight counts half.

    With ramp > 0 the half-life is at most ramp x seen, so that early averages forget the initial weights (Karras et al. 2020,
    StyleGAN2-ADA, section A: EMA rampup).
    """
    if ramp > 0:
        half_life = min(half_life, max(int(ramp * seen), 1))
    return 0.5 ** (images / half_life)
