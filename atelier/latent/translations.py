"""Images of a generator that is given a picture or a label map: of several noises, between two noises, and between two maps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from atelier.io.pictures import colored, in_color
from atelier.latent.edits import way
from atelier.models.model import at_once, generate, to_uint8
from atelier.networks.base import Translator
from atelier.networks.inputs import LabelMap, Picture, draw
from atelier.tasks.records import palette_of


@dataclass(frozen=True)
class Translations:
    """What a translator is given beside noise: N values of its input `name`, float [N, C, H, W] or, of maps, int64 [N, H, W]."""

    generator: Translator
    name: str
    values: Tensor

    @property
    def kind(self) -> Picture | LabelMap:
        """What the input is."""
        kind = self.generator.takes[self.name]
        assert isinstance(kind, Picture | LabelMap)
        return kind

    @property
    def shown(self) -> np.ndarray:
        """The values as pictures uint8 [N, 3, H, W], label maps in the colors of their classes."""
        palette = palette_of(self.kind)
        if palette is None:
            return in_color(to_uint8(self.values))
        return colored(self.values[:, None].to(torch.uint8).numpy(), palette)

    def images(self, values: Tensor, noise: Tensor | None) -> np.ndarray:
        """uint8 images [M, C, H, W] of M values and, where the generator takes it, noise [M, size]."""
        given = {self.name: values} | ({} if noise is None else {"noise": noise})
        return np.concatenate(list(generate(self.generator, given, at_once(self.generator.shape.resolution))))


def noises(generator: Translator, seeds: Sequence[int]) -> Tensor:
    """The noise [seeds, size] that a served generator draws from each seed."""
    random = {name: kind for name, kind in generator.takes.items() if kind.random}
    return torch.cat([draw(random, 1, seed)["noise"] for seed in seeds])


def varied(of: Translations, noise: Tensor) -> np.ndarray:
    """uint8 [inputs x noises, C, H, W]: the images of an input by each noise [noises, size] in a row."""
    return of.images(of.values.repeat_interleave(len(noise), dim=0), noise.repeat(len(of.values), 1))


def between_noises(of: Translations, noise: Tensor, steps: int) -> np.ndarray:
    """uint8 [inputs x (noises - 1) x steps, C, H, W]: of each input from one noise to the next, on the great circle."""
    shares = np.linspace(0, 1, steps)
    return varied(of, torch.cat([way(first, second, shares) for first, second in itertools.pairwise(noise)]))


def between_maps(of: Translations, noise: Tensor | None, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields of each two label maps that follow one another what is between them, ends included, and the images of it.

    Between are mixtures of the planes of their classes, uint8 [steps, 3, H, W] in mixed colors. The images uint8
    [noises x steps, C, H, W] are those of one noise after the other; None is for generators that take none.
    """
    palette = palette_of(of.kind)
    assert palette is not None
    planes = of.generator.planes.of_map(of.values, len(palette))
    shares = torch.linspace(0, 1, steps)[:, None, None, None]
    each: list[Tensor | None] = [None] if noise is None else [one.expand(steps, -1) for one in noise]
    for first, second in itertools.pairwise(planes):
        mixed = (1 - shares) * first + shares * second
        colors = torch.einsum("nkhw,kc->nchw", mixed, torch.from_numpy(palette).float()).round().to(torch.uint8).numpy()
        yield colors, np.concatenate([of.images(mixed, one) for one in each])
