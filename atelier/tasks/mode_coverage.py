"""Variety of images: their mean distance, and their modes, the cells of a partition of real images."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

CELLS = 32
ROUNDS = 10  # of k-means
LEARNT, COUNTED = 8, 4  # batches of real images that the cells are made of, and by which other ones are counted
SIDE = 16  # images are compared as thumbnails of at most so many pixels a side


class ModeCoverage:
    """Cells of real images by k-means on thumbnails, the bins of Richardson and Weiss 2018 (section 3).

    Images of few modes fall into few cells, however much they differ within these. Pixels are enough for that: one digit of ten
    covers a fifth of the modes, every healthy run more than half.
    """

    def __init__(self, real: Iterable[Tensor]) -> None:
        """`real` are batches [N,C,H,W] of as many images as `share` will be given: LEARNT, then COUNTED."""
        batches = [_thumbnails(images) for images in real]
        self.centers = k_means(torch.cat(batches[:LEARNT]))
        self.typical = float(np.mean([self._effective(batch) for batch in batches[LEARNT:]]))

    def share(self, images: Tensor) -> float:
        """The effective number of modes of these images [N,C,H,W], over that of as many real images."""
        return self._effective(_thumbnails(images)) / self.typical

    def _effective(self, thumbnails: Tensor) -> float:
        """The effective number of cells: exp of the entropy (in nats) of the shares that fall into each."""
        shares = torch.bincount(torch.cdist(thumbnails, self.centers).argmin(dim=1)) / len(thumbnails)
        return torch.special.entr(shares).sum().exp().item()


def pairwise_distance(images: Tensor, labels: Tensor | None) -> float:
    """Mean Euclidean distance between the images [N,C,H,W] of every pair, within classes where two images share a label.

    A collapsed generator draws the same image (of a class) from every latent: its distance goes to 0.
    """
    flat = images.flatten(1).float()
    distances = torch.cdist(flat, flat)
    counted = ~torch.eye(len(flat), dtype=torch.bool, device=flat.device)
    if labels is not None and (alike := counted & (labels[:, None] == labels[None, :])).any():
        counted = alike
    return distances[counted].mean().item()


def k_means(points: Tensor) -> Tensor:
    """Centers [at most CELLS, D] of points [N, D] by Lloyd's rounds, begun as k-means++ does (Arthur and Vassilvitskii 2007).

    Written here since the images that train hold no library with it. Equal points give equal centers.
    """
    random = np.random.default_rng(0)
    centers = points[:1]
    while len(centers) < CELLS and (far := torch.cdist(points, centers).amin(dim=1).double().square()).max() > 0:
        chosen = random.choice(len(points), p=(far / far.sum()).numpy())
        centers = torch.cat([centers, points[chosen : chosen + 1]])
    for _ in range(ROUNDS):
        own = torch.cdist(points, centers).argmin(dim=1)
        counts = torch.bincount(own, minlength=len(centers))[:, None]
        sums = torch.zeros_like(centers).index_add_(0, own, points)
        centers = torch.where(counts > 0, sums / counts.clamp(min=1), centers)
    return centers


def _thumbnails(images: Tensor) -> Tensor:
    """[N, C*h*w] on the CPU, h and w at most SIDE."""
    height, width = images.shape[2:]
    pooled = adaptive_avg_pool2d(images.float(), (min(SIDE, height), min(SIDE, width)))
    return torch.nan_to_num(pooled).flatten(1).cpu()
