"""What happens to images on their way to a detector: to real and generated ones alike, or it would learn who had been saved how.

All take and give uint8 [N, C, H, W], C being 1 or 3.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from atelier.networks.resize import enlarged, shrunk
from atelier.tasks.restoration.degradations.base import eight_bits
from atelier.tasks.restoration.degradations.jpeg import compressed
from atelier.tasks.restoration.degradations.kernels import blurred, distances, gaussian

REACH = 3  # deviations at which the kernel of a blur ends
QUALITIES, SIGMAS = (40, 96), (0.4, 1.4)  # of what is learnt from: JPEG's qualities, and deviations of blurs in pixels
Change = Callable[[np.ndarray], np.ndarray]


def _of_each(images: np.ndarray, change: Callable[[Tensor], Tensor]) -> np.ndarray:
    done = [change(image[None]) for image in torch.from_numpy(images).float().div(255)]
    return eight_bits(torch.cat(done)).mul(255).round().to(torch.uint8).numpy()


def jpeg(images: np.ndarray, quality: int) -> np.ndarray:
    """Written as JPEG and read again."""
    return _of_each(images, partial(compressed, quality=quality))


def blur(images: np.ndarray, sigma: float) -> np.ndarray:
    """Under a Gaussian of `sigma` pixels."""
    kernel = gaussian(distances(2 * int(np.ceil(REACH * sigma)) + 1, sigma, sigma, 0.0))
    return _of_each(images, partial(blurred, kernel=kernel))


def half(images: np.ndarray) -> np.ndarray:
    """Shrunk to half of each side, and enlarged again, both bicubically. An odd side has its last row or column twice."""
    height, width = images.shape[2:]
    even = np.pad(images, ((0, 0), (0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    return _of_each(even, lambda image: enlarged(eight_bits(shrunk(image, 2)), 2))[:, :, :height, :width]


CHANGES: dict[str, Change] = {
    "plain": lambda images: images,
    "JPEG 90": partial(jpeg, quality=90),
    "JPEG 75": partial(jpeg, quality=75),
    "JPEG 50": partial(jpeg, quality=50),
    "blur 1 px": partial(blur, sigma=1.0),
    "half size": half,
}


def versions(images: np.ndarray, seed: int) -> np.ndarray:
    """What is learnt from, uint8 [4, N, C, H, W]: as they are, as JPEG, blurred, and at half size; strengths drawn by `seed`."""
    random = np.random.default_rng(seed)
    qualities = random.integers(*QUALITIES, size=len(images)).tolist()
    sigmas = random.uniform(*SIGMAS, size=len(images)).tolist()
    squeezed = [jpeg(image[None], quality) for image, quality in zip(images, qualities, strict=True)]
    blurry = [blur(image[None], sigma) for image, sigma in zip(images, sigmas, strict=True)]
    return np.stack([images, np.concatenate(squeezed), np.concatenate(blurry), half(images)])
