"""A probe of fixed contents and styles: what becomes of them over time, and how near it comes to both."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from atelier.config.data import IMAGE
from atelier.io.pictures import grid, in_color, png
from atelier.models.model import from_uint8, to_uint8
from atelier.networks.base import Generator
from atelier.tasks.base import Examples
from atelier.tasks.style.sampler import CONTENT, STYLE, given_of

COMPARED = 8  # contents, each with a style
SIDES = CONTENT, STYLE

Losses = Callable[[Tensor, Tensor, Tensor], Mapping[str, Tensor]]
"""Of pictures that were made, of contents and of styles: the losses by name, [N] each."""


class StyleProbe:
    """The same contents and styles at every moment of a run, held-out ones where both sets have some."""

    curves = ("content_probe", "style_probe", "unchanged_probe")

    def __init__(self, losses: Losses, examples: Examples) -> None:
        batch = examples.held_out(COMPARED) or next(examples.training(COMPARED))
        self.losses = losses
        self.shown = {name: to_uint8(batch[f"{name}.{IMAGE}"]) for name in SIDES}
        self.device = batch[f"{CONTENT}.{IMAGE}"].device

    @torch.no_grad()
    def measure(self, averages: Mapping[str, nn.Module]) -> dict[str, float]:
        """The curves at this moment; changes nothing.

        content_probe, style_probe: the losses of the fixed pictures. unchanged_probe: the style's loss of the contents as they
        are, which style_probe has to fall below.
        """
        content, style = self._pictures()
        found = self.losses(self._made(averages, content, style), content, style)
        unchanged = self.losses(content, content, style)
        values = found["content_loss"], found["style_loss"], unchanged["style_loss"]
        return {name: value.mean().item() for name, value in zip(self.curves, values, strict=True)}

    @torch.no_grad()
    def preview(self, averages: Mapping[str, nn.Module]) -> bytes:
        """A PNG with rows of contents, of styles, and of what was made of both."""
        content, style = self._pictures()
        made = to_uint8(self._made(averages, content, style))
        return png(grid(np.concatenate([in_color(one) for one in (*self.shown.values(), made)]), COMPARED))

    def _pictures(self) -> tuple[Tensor, ...]:
        return tuple(from_uint8(torch.from_numpy(self.shown[name])).contiguous().to(self.device) for name in SIDES)

    def _made(self, averages: Mapping[str, nn.Module], content: Tensor, style: Tensor) -> Tensor:
        (generator,) = averages.values()
        assert isinstance(generator, Generator)
        pairs = zip(content.split(1), style.split(1), strict=True)
        return torch.cat([generator.generate(given_of(generator.takes, *pair)).float() for pair in pairs]).clamp(-1, 1)
