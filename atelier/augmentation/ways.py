"""The ways to fit a classifier on few images: augmentation, weights and repetition of rare classes, or generated images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from atelier.augmentation.counts import repeats
from atelier.data.repack import Labelled
from atelier.metrics.classifier import network_of, read_by
from atelier.metrics.fitting import BATCH, descend, normalized

STRENGTHS = (0.0, 1.0, 2.0)  # of augmentation, among which validation images choose; 0 is none
DEGREES, ZOOM, MOVE, LIGHT = 10.0, 0.1, 1 / 14, 0.15  # at strength 1: largest turn, change of size, move and change of light


@dataclass(frozen=True)
class Way:
    """A way to fit a classifier; `generated` is the number of generated images for each real one."""

    name: str
    augmented: bool = True
    weighted: bool = False
    repeated: bool = False
    generated: float = 0.0


PLAIN, AUGMENTED = Way("no augmentation", augmented=False), Way("augmentation")
WEIGHTED, REPEATED = Way("class weights", weighted=True), Way("oversampling", repeated=True)


def ways(ratios: list[float], balanced: bool) -> list[Way]:
    """The baselines and, behind them, a way for each ratio; what treats rare classes is left out of sets that have none."""
    rare = [] if balanced else [WEIGHTED, REPEATED]
    return [PLAIN, AUGMENTED, *rare, *(Way(f"generated {ratio:g} : 1", generated=ratio) for ratio in ratios)]


def fit(way: Way, strength: float, real: Labelled, generated: Labelled | None, classes: int, steps: int, seed: int) -> nn.Module:
    """A small classifier after `steps` steps of 64 images, alike for all ways: equal inputs give equal weights, on one core.

    `strength` is that of augmentation where the way augments. Raises ValueError where the steps do not reach every image once.
    """
    images, labels = real if generated is None else real.and_(generated)
    indices = np.arange(len(labels))
    counts = np.bincount(labels, minlength=classes)
    if way.repeated:
        indices = np.repeat(indices, repeats(counts)[labels])
    if len(indices) > steps * BATCH:
        raise ValueError(f"{steps} steps of {BATCH} do not reach {len(indices)} images")
    weights = torch.from_numpy(len(labels) / (classes * np.maximum(counts, 1))).float() if way.weighted else None
    network = network_of(images.shape[1], images.shape[2], classes, seed)

    def loss_of(rows: np.ndarray, random: np.random.Generator) -> Tensor:
        batch = normalized(torch.from_numpy(images[rows]))
        if way.augmented and strength:
            batch = distorted(batch, strength, random)
        return nn.functional.cross_entropy(network(batch), torch.from_numpy(labels[rows]), weights)

    descend(network, indices, steps * BATCH, seed, loss_of, "", progress=False)
    return network.eval().requires_grad_(False)


def read(network: nn.Module, shown: Labelled, classes: int) -> list[float]:
    """The share of images read as they are labelled, of each class (its recall). Every class must be among them."""
    right = read_by(network, shown.images, classes).argmax(axis=1) == shown.labels
    return [float(right[shown.labels == label].mean()) for label in range(classes)]


def distorted(images: Tensor, strength: float, random: np.random.Generator) -> Tensor:
    """Each image [N, C, H, W] in [-1, 1] turned, resized, moved and lit by chance of its own; the border repeats.

    At strength 1 by up to 10 degrees, a tenth of its size, 1/14 of its side along both turned axes, and 0.15 of half the range.
    """
    turn, zoom, right, down, light = torch.from_numpy(random.uniform(-strength, strength, (5, len(images)))).float()
    turn, zoom = turn * math.radians(DEGREES), (1 + ZOOM) ** zoom
    sine, cosine = turn.sin() / zoom, turn.cos() / zoom
    rows = [torch.stack([cosine, -sine, 2 * MOVE * right], 1), torch.stack([sine, cosine, 2 * MOVE * down], 1)]
    places = nn.functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    moved = nn.functional.grid_sample(images.contiguous(), places, padding_mode="border", align_corners=False)
    return (moved + LIGHT * light[:, None, None, None]).clamp(-1, 1).contiguous(memory_format=torch.channels_last)
