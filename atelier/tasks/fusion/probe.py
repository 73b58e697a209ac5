"""A probe of fixed records: what is made of the text of each, of its sound, of both and of neither, over time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.config.data import IMAGE
from atelier.io.pictures import grid, png
from atelier.losses.fusion import alike
from atelier.models.model import to_uint8
from atelier.networks import inputs
from atelier.networks.fusion import AUDIO, NOISE, TEXT, FusionGenerator
from atelier.tasks.base import Examples
from atelier.tasks.fusion.fields import FIELDS
from atelier.tasks.generation.probe import reduced
from atelier.tasks.mode_coverage import pairwise_distance

COMPARED, SHOWN = 128, 12  # records whose images are compared, and of which they are shown
HEARD = "sound_retrieval"


class FusionProbe:
    """The same noise and records at every moment of a run, held-out ones where there are any."""

    def __init__(self, generator: FusionGenerator, seed: int, examples: Examples) -> None:
        real = next(examples.training(COMPARED))
        batch = examples.held_out(COMPARED) or real
        self.told = {name: batch[FIELDS[name]] for name in generator.told}
        self.same = alike(batch[FIELDS[TEXT]], batch.get("label"))
        self.noise = inputs.draw({NOISE: generator.takes[NOISE]}, COMPARED, seed)[NOISE].to(batch[IMAGE].device)
        self.shown = to_uint8(batch[IMAGE][:SHOWN])
        self.real_distance = pairwise_distance(reduced(real[IMAGE]), None)
        self.curves = ("diversity", *([HEARD] if AUDIO in self.told else []))

    @torch.no_grad()
    def measure(self, averages: Mapping[str, nn.Module]) -> dict[str, float]:
        """The curves at this moment; changes nothing.

        diversity: mean distance between images of text and sound, over that between real images. sound_retrieval: the share of
        recordings whose nearest text, among those of the other records and their own, says the same.
        """
        generator = self._generator(averages)
        images = reduced(self._made(generator, self.told))
        found = {"diversity": pairwise_distance(images, None) / self.real_distance}
        if generator.sound_encoder is not None:
            heard, texts = generator.sound_encoder(self.told[AUDIO]).float(), generator.read(self.told[TEXT])
            nearest = (F.normalize(heard) @ F.normalize(texts).T).argmax(dim=1)
            found[HEARD] = self.same[torch.arange(len(nearest)), nearest].float().mean().item()
        return found

    @torch.no_grad()
    def preview(self, averages: Mapping[str, nn.Module]) -> bytes:
        """A PNG with rows of real images, of what is made of their text, sound and both, and of noise alone."""
        generator = self._generator(averages)
        subsets = [*([name] for name in self.told), [*self.told], []] if len(self.told) > 1 else [[*self.told], []]
        rows = [to_uint8(self._made(generator, {name: self.told[name] for name in one}, SHOWN)) for one in subsets]
        return png(grid(np.concatenate([self.shown, *rows]), SHOWN))

    def _made(self, generator: FusionGenerator, told: Mapping[str, Tensor], count: int = COMPARED) -> Tensor:
        given = {name: values[:count] for name, values in told.items()}
        return generator(self.noise[:count], **given).float().clamp(-1, 1)

    @staticmethod
    def _generator(averages: Mapping[str, nn.Module]) -> FusionGenerator:
        (generator,) = averages.values()
        assert isinstance(generator, FusionGenerator)
        return generator
