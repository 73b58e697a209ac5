"""A probe of fixed pairs: inputs, translations and targets beside each other over time, and how near they come."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from atelier.config.data import TARGET
from atelier.io.pictures import colored, grid, in_color, png
from atelier.models.model import at_once, to_uint8
from atelier.networks.inputs import Takes
from atelier.networks.inputs import draw as draw_inputs
from atelier.tasks.base import Batch, Examples
from atelier.tasks.mode_coverage import COUNTED, LEARNT, ModeCoverage, pairwise_distance
from atelier.tasks.records import INPUT, palette_of, record_input

COMPARED = 64  # pairs
COLUMNS, GROUPS = 10, 3  # of the preview: so many pairs beside each other, in so many groups of rows
NOISES = 2  # translations of each input, where there is noise


class PairsProbe:
    """The same pairs at every moment of a run: training ones and, where there are any, held-out ones.

    Generators that `takes` gives noise are given the same NOISES for each input at every moment.
    """

    def __init__(self, takes: Takes, examples: Examples) -> None:
        training = list(itertools.islice(examples.training(COMPARED), LEARNT + COUNTED + 1))
        self.training, self.held_out = training[-1], examples.held_out(COMPARED)
        self.coverage = ModeCoverage(batch[TARGET] for batch in training[: LEARNT + COUNTED])
        target = self.training[TARGET]
        self.real_distance = pairwise_distance(target, None)
        self.name, random = record_input(takes), {name: kind for name, kind in takes.items() if kind.random}
        self.palette = palette_of(takes[self.name])
        self.drawn = [
            {name: values.to(target.device) for name, values in draw_inputs(random, COMPARED, seed).items()}
            for seed in range(NOISES if random else 1)
        ]
        varied = ("noise_diversity",) if random else ()
        self.curves = ("diversity", *varied, "mode_coverage", "l1_training", *(("l1_held_out",) if self.held_out else ()))

    @torch.no_grad()
    def measure(self, averages: Mapping[str, nn.Module]) -> dict[str, float]:
        """The curves at this moment; changes nothing.

        diversity: mean distance between translations, over that between targets; near 0 where the input is ignored.
        noise_diversity: mean distance between two translations of one input, over the same; near 0 where the noise is ignored.
        mode_coverage: their effective number of modes, over that of targets. l1_training, l1_held_out: mean difference of
        translations from their targets, in [0, 2]; they part where pairs are learnt by heart.
        """
        (generator,) = averages.values()
        made, *others = self._translated(generator, self.training)
        found = {
            "diversity": pairwise_distance(made, None) / self.real_distance,
            "mode_coverage": self.coverage.share(made),
            "l1_training": (made - self.training[TARGET]).abs().mean().item(),
        }
        for other in others:
            found["noise_diversity"] = (made - other).flatten(1).norm(dim=1).mean().item() / self.real_distance
        if self.held_out:
            translated = self._translated(generator, self.held_out)[0]
            found["l1_held_out"] = (translated - self.held_out[TARGET]).abs().mean().item()
        return found

    @torch.no_grad()
    def preview(self, averages: Mapping[str, nn.Module]) -> bytes:
        """A PNG with rows of inputs, of their translations and of their targets; held-out ones where there are any.

        Label maps are in the colors of their classes; of each noise there is a row of translations.
        """
        (generator,) = averages.values()
        shown = self.held_out or self.training
        images = [*self._translated(generator, shown), shown[TARGET]]
        parts = [self._picture(shown[INPUT]), *(in_color(to_uint8(one)) for one in images)]
        groups = (slice(group * COLUMNS, (group + 1) * COLUMNS) for group in range(GROUPS))
        return png(grid(np.concatenate([part[rows] for rows in groups for part in parts]), COLUMNS))

    def _translated(self, generator: nn.Module, batch: Batch) -> list[Tensor]:
        """Translations [N, C, H, W] of the inputs by each noise, within [-1, 1]."""
        step = at_once(batch[INPUT].shape[-1], COMPARED)
        return [self._of_noise(generator, {self.name: batch[INPUT]} | drawn, step) for drawn in self.drawn]

    def _of_noise(self, generator: nn.Module, given: dict[str, Tensor], step: int) -> Tensor:
        parts = (slice(start, start + step) for start in range(0, COMPARED, step))
        made = [generator(**{name: values[part] for name, values in given.items()}).float().clamp(-1, 1) for part in parts]
        return torch.cat(made)

    def _picture(self, values: Tensor) -> np.ndarray:
        if self.palette is None:
            return in_color(to_uint8(values))
        return colored(values[:, None].to(torch.uint8).cpu().numpy(), self.palette)
