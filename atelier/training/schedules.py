"""What changes over a run, as pure functions of the images seen."""

from __future__ import annotations

import math

from torch.optim import Optimizer

from atelier.config.training import TrainSettings


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


def pace(optimiser: Optimizer, settings: TrainSettings, rate: float, progress: float) -> None:
    """Gives Adam the learning rate and beta2 of that part of the training, in [0, 1); `rate` is what it begins with."""
    for group in optimiser.param_groups:
        group["lr"] = cosine(rate, rate * settings.lr_final, progress)
        group["betas"] = (settings.beta1, cosine(settings.beta2, settings.beta2_final, progress))
