"""Generators without training, for detectors: noise that was upsampled, beside noise of the same spectrum."""

from __future__ import annotations

import numpy as np
import torch
from scipy.fft import dctn, idctn
from torch.nn import functional as F

SIDE = 16
CONTRAST, GRAIN = 24.0, 2.0  # deviations in levels: of the images, and of what hides how small the smallest frequencies are
MODES = ("nearest", "bilinear")


def upsampled(mode: str, count: int, seed: int) -> np.ndarray:
    """Noise at twice its size, uint8 [count, 1, SIDE, SIDE]: as many generators as there are ways of interpolation."""
    return _levels(_enlarged(mode, count, seed), seed)


def like(mode: str, count: int, seed: int) -> np.ndarray:
    """Such images with random signs of their DCT's coefficients, uint8 [count, 1, SIDE, SIDE]: of one spectrum with them."""
    coefficients = dctn(_enlarged(mode, count, seed), axes=(2, 3), norm="ortho")
    signs = np.random.default_rng([seed, 1]).choice([-1, 1], size=coefficients.shape)
    return _levels(idctn(coefficients * signs, axes=(2, 3), norm="ortho"), seed)


def _enlarged(mode: str, count: int, seed: int) -> np.ndarray:
    small = torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 1, SIDE // 2, SIDE // 2)))
    found: np.ndarray = F.interpolate(small, size=SIDE, mode=mode).numpy()
    return found


def _levels(images: np.ndarray, seed: int) -> np.ndarray:
    grain = np.random.default_rng([seed, 2]).normal(scale=GRAIN, size=images.shape)
    return (images / images.std() * CONTRAST + grain + 128).round().clip(0, 255).astype(np.uint8)
