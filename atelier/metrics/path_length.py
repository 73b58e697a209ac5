"""Perceptual path length: how far a picture moves for a small step in latent space (Karras et al. 2019, section 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch

from atelier.metrics.identity import MetricError
from atelier.models.model import slerp
from atelier.networks.base import LatentGenerator

EPSILON = 1e-4
DISCARDED = 1.0  # per cent at each end


def path_length(
    generator: LatentGenerator,
    features_of: Callable[[np.ndarray], np.ndarray],
    pairs: int,
    seed: int,
    batch: int = 64,
    interpolation: Literal["slerp", "lerp"] = "slerp",
    epsilon: float = EPSILON,
) -> tuple[float, float]:
    """Mean of |f(G(z0)) - f(G(z))|^2 / epsilon^2 over `pairs` steps of `epsilon` from z0 towards z1; and its standard error.

    `features_of` takes float32 images [n,C,H,W] of 0 to 255, clipped as for display but not rounded, and gives f [n, d].
    Karras et al. take LPIPS, which needs VGG's weights, for the squared distance: name the number by the network that f is of.
    Rounded images would move by whole gray levels or not at all: for a generator of digits, `efficientnet_lite0` and 1e-4 that
    makes 524,000 of 13,071 (float64 also gives 13,071, so float32 without TF32 is enough).

    z0, z1 and then the labels, all classes equally likely, come from RandomState(seed), as in torch-fidelity. The way between
    normal latents is the great circle (White 2016) for `slerp`, the straight line for `lerp`. The points of a great circle are
    distributed as its ends, nearly, so that steps at the end stand for all. What lies below the 1st and above the 99th
    percentile is discarded; the error is that of a trimmed mean (Tukey and McLaughlin 1963). `batch` changes rounding only.

    Raises MetricError on fewer than two pairs, or features that are not finite.
    """
    if pairs < 2:
        raise MetricError(f"a path length needs at least 2 pairs of latents, not {pairs}; raise their number")
    z0, z, labels = _steps(pairs, generator.latent_dim, generator.shape.classes, seed, interpolation, epsilon)
    squares = np.empty(pairs)
    for start in range(0, pairs, batch):
        rows = slice(start, start + batch)
        both = np.concatenate([z0[rows], z[rows]])
        y = None if labels is None else np.tile(labels[rows], 2)
        first, second = np.split(features_of(_images(generator, both, y)).astype(np.float64), 2)
        squares[rows] = ((first - second) ** 2).sum(axis=1) / epsilon**2
    if not np.isfinite(squares).all():
        row = int(np.argmin(np.isfinite(squares)))
        raise MetricError(f"the features of latent pair {row} are not finite; look for NaN in the generator")
    return _trimmed(squares)


def _steps(
    pairs: int, dim: int, classes: int, seed: int, interpolation: Literal["slerp", "lerp"], epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """z0 float32 [pairs, dim], the points `epsilon` from there towards z1, and labels int64 [pairs] or None."""
    random = np.random.RandomState(seed)
    z0, z1 = (random.randn(pairs, dim).astype(np.float32).astype(np.float64) for _ in range(2))
    labels = random.randint(0, classes, pairs) if classes else None
    z = slerp(z0, z1, epsilon) if interpolation == "slerp" else z0 + (z1 - z0) * epsilon
    return z0.astype(np.float32), z.astype(np.float32), labels


def _images(generator: LatentGenerator, z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Images float32 [n,C,H,W] of 0 to 255: what atelier.models.model.to_uint8 rounds. TF32 would round them too."""
    device = next(generator.parameters()).device
    y = None if labels is None else torch.from_numpy(labels).to(device)
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.inference_mode(), exact:
        images = generator(torch.from_numpy(z).to(device), y)
    return images.float().clamp(-1, 1).add(1).mul(127.5).cpu().numpy()


def _trimmed(values: np.ndarray) -> tuple[float, float]:
    """Mean of the values between both percentiles, rims included, and its standard error from the winsorised deviation."""
    low = np.percentile(values, DISCARDED, method="lower")
    high = np.percentile(values, 100 - DISCARDED, method="higher")
    kept = values[(low <= values) & (values <= high)]
    deviation = np.clip(values, low, high).std(ddof=1)
    return float(kept.mean()), float(deviation * np.sqrt(len(values)) / len(kept))
