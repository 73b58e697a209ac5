"""A probe of fixed crops: degraded, restored and clean ones beside each other over time, and how near they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from atelier.io.pictures import grid, in_color, png
from atelier.models.model import at_once, to_uint8
from atelier.networks.resize import enlarged
from atelier.tasks.base import Batch, Examples

COMPARED = 32  # crops
COLUMNS, GROUPS = 8, 2  # of the preview: so many crops beside each other, in so many groups of rows
PEAK = 2.0  # of images in [-1, 1]
LEVEL = PEAK / 255  # in which pictures that are equal would differ


class Pairs(NamedTuple):
    """Degraded crops [N, c, h, w] in [-1, 1], and the clean ones [N, C, H, W]."""

    given: Tensor
    clean: Tensor


class RestorationProbe:
    """The same crops at every moment of a run: training ones and, where there are any, held-out ones.

    `pairs` makes of records what the generator is given, and what it should make of that.
    """

    def __init__(self, pairs: Callable[[Batch], tuple[Tensor, Tensor]], examples: Examples) -> None:
        held_out = examples.held_out(COMPARED)
        self.pairs = {"training": Pairs(*pairs(next(examples.training(COMPARED))))}
        if held_out:
            self.pairs["held_out"] = Pairs(*pairs(held_out))
        self.shown = self.pairs.get("held_out", self.pairs["training"])
        self.enlarged = _enlarged(self.shown)
        self.baseline = psnr(self.enlarged, self.shown.clean)
        self.curves = (*(f"psnr_{name}" for name in self.pairs), "psnr_input")

    @torch.no_grad()
    def measure(self, averages: Mapping[str, nn.Module]) -> dict[str, float]:
        """The curves at this moment, in decibels; changes nothing.

        psnr_training, psnr_held_out: mean of the restored crops; they part where crops are learnt by heart. psnr_input: of the
        degraded ones, enlarged bicubically, which a restorer has to exceed.
        """
        (generator,) = averages.values()
        found = {f"psnr_{name}": psnr(self._restored(generator, pairs), pairs.clean) for name, pairs in self.pairs.items()}
        return found | {"psnr_input": self.baseline}

    @torch.no_grad()
    def preview(self, averages: Mapping[str, nn.Module]) -> bytes:
        """A PNG with rows of degraded crops, enlarged bicubically, of restored and of clean ones; held-out ones if there are."""
        (generator,) = averages.values()
        parts = [in_color(to_uint8(one)) for one in (self.enlarged, self._restored(generator, self.shown), self.shown.clean)]
        groups = (slice(group * COLUMNS, (group + 1) * COLUMNS) for group in range(GROUPS))
        return png(grid(np.concatenate([part[rows] for rows in groups for part in parts]), COLUMNS))

    def _restored(self, generator: nn.Module, pairs: Pairs) -> Tensor:
        step = at_once(pairs.clean.shape[3], COMPARED)
        return torch.cat([generator(image=part).float().clamp(-1, 1) for part in pairs.given.split(step)])


def psnr(images: Tensor, clean: Tensor) -> float:
    """The mean over images [N, C, H, W] in [-1, 1] of the peak signal-to-noise ratio, in decibels; 48 of equal ones."""
    squares = (images.clamp(-1, 1) - clean).square().mean(dim=(1, 2, 3)).clamp_min(LEVEL**2)
    return float((10 * (PEAK**2 / squares).log10()).mean())


def _enlarged(pairs: Pairs) -> Tensor:
    """The degraded crops at the size of the clean ones."""
    factor = pairs.clean.shape[3] // pairs.given.shape[3]
    return enlarged(pairs.given.float(), factor) if factor > 1 else pairs.given.float()
