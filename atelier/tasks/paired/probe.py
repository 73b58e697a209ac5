"""A probe of fixed pairs: inputs, translations and targets beside each other over time, and how near they come."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from atelier.config.data import TARGET
from atelier.io.pictures import grid, png
from atelier.models.model import at_once, to_uint8
from atelier.tasks.base import Batch, Examples
from atelier.tasks.mode_coverage import COUNTED, LEARNT, ModeCoverage, pairwise_distance
from atelier.tasks.records import INPUT

COMPARED = 64  # pairs
COLUMNS, GROUPS = 10, 3  # of the preview: so many pairs beside each other, in so many groups of rows


class PairedProbe:
    """The same pairs at every moment of a run: training ones and, where there are any, held-out ones."""

    def __init__(self, examples: Examples) -> None:
        training = list(itertools.islice(examples.training(COMPARED), LEARNT + COUNTED + 1))
        self.training, self.held_out = training[-1], examples.held_out(COMPARED)
        self.coverage = ModeCoverage(batch[TARGET] for batch in training[: LEARNT + COUNTED])
        self.real_distance = pairwise_distance(self.training[TARGET], None)
        self.curves = ("diversity", "mode_coverage", "l1_training", *(("l1_held_out",) if self.held_out else ()))

    @torch.no_grad()
    def measure(self, averages: Mapping[str, nn.Module]) -> dict[str, float]:
        """The curves at this moment; changes nothing.

        diversity: mean distance between translations, over that between targets; near 0 where the input is ignored.
        mode_coverage: their effective number of modes, over that of targets. l1_training, l1_held_out: mean difference of
        translations from their targets, in [0, 2]; they part where pairs are learnt by heart.
        """
        (generator,) = averages.values()
        made = _translated(generator, self.training)
        found = {
            "diversity": pairwise_distance(made, None) / self.real_distance,
            "mode_coverage": self.coverage.share(made),
            "l1_training": (made - self.training[TARGET]).abs().mean().item(),
        }
        if self.held_out:
            found["l1_held_out"] = (_translated(generator, self.held_out) - self.held_out[TARGET]).abs().mean().item()
        return found

    @torch.no_grad()
    def preview(self, averages: Mapping[str, nn.Module]) -> bytes:
        """A PNG with rows of inputs, of their translations and of their targets; held-out ones where there are any."""
        (generator,) = averages.values()
        shown = self.held_out or self.training
        lines = []
        for group in range(GROUPS):
            rows = slice(group * COLUMNS, (group + 1) * COLUMNS)
            part = {name: values[rows] for name, values in shown.items()}
            lines += [_colored(to_uint8(one)) for one in (part[INPUT], _translated(generator, part), part[TARGET])]
        return png(grid(np.concatenate(lines), COLUMNS))


def _translated(generator: nn.Module, batch: Batch) -> Tensor:
    """Translations [N, C, H, W] of the inputs, within [-1, 1]."""
    step = at_once(batch[INPUT].shape[-1], COMPARED)
    return torch.cat([generator(image=part).float().clamp(-1, 1) for part in batch[INPUT].split(step)])


def _colored(images: np.ndarray) -> np.ndarray:
    return images.repeat(3 // images.shape[1], axis=1)
