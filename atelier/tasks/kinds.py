"""Of how many kinds images are: the cells of a partition of real images into alike ones, and how evenly they are met."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from scipy.cluster.vq import kmeans2, vq
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from atelier.tasks.move import Batch

CELLS = 32
LEARNT, COUNTED = 8, 4  # batches of real images that the cells are made of, and by which other ones are counted
SIDE = 16  # images are compared as thumbnails of at most so many pixels a side


class Kinds:
    """Cells of real images by k-means on thumbnails, the bins of Richardson and Weiss 2018 (section 3).

    Images of few modes fall into few cells, however much they differ within these. Pixels tell kinds apart well enough for
    that: of one digit of ten is left a fifth of the kinds, of all that train well are more than half.
    """

    def __init__(self, real: Iterable[Batch]) -> None:
        """`real` are batches of as many images as `share` will be given: LEARNT, then COUNTED."""
        batches = [_thumbnails(batch.images) for batch in real]
        learnt = np.concatenate(batches[:LEARNT])
        cells = min(CELLS, len(np.unique(learnt, axis=0)))
        self.centres, _ = kmeans2(learnt, cells, minit="++", seed=np.random.default_rng(0))
        self.typical = float(np.mean([self._effective(batch) for batch in batches[LEARNT:]]))

    def share(self, images: Tensor) -> float:
        """The kinds of these images [N,C,H,W] over those of as many real images."""
        return self._effective(_thumbnails(images)) / self.typical

    def _effective(self, thumbnails: np.ndarray) -> float:
        """The effective number of cells: exp of the entropy (in nats) of the shares that fall into each."""
        cells, _ = vq(thumbnails, self.centres)
        shares = np.bincount(cells) / len(cells)
        shares = shares[shares > 0]
        return float(np.exp(-(shares * np.log(shares)).sum()))


def _thumbnails(images: Tensor) -> np.ndarray:
    """[N, C*h*w], h and w at most SIDE."""
    height, width = images.shape[2:]
    pooled = adaptive_avg_pool2d(images.float(), (min(SIDE, height), min(SIDE, width)))
    return torch.nan_to_num(pooled).flatten(1).cpu().numpy()
