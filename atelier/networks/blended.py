"""Two generators as one: weights between those of both, at a share that is an input (Wang et al. 2018, ESRGAN, section 3.4)."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.func import functional_call

from atelier.networks.base import Generator
from atelier.networks.inputs import Scalar, Takes

SHARPNESS = "sharpness"  # the input: 0 for the weights of the first, 1 for those of the second
SHARE = Scalar(low=0.0, high=1.0, default=1.0)
SMOOTH, SHARP = "smooth", "sharp"


def between(smooth: Mapping[str, Tensor], sharp: Mapping[str, Tensor], share: float | Tensor) -> dict[str, Tensor]:
    """smooth + share * (sharp - smooth) by name, each to the bit at 0 and 1; what is not floating point is that of `sharp`."""
    return {name: torch.lerp(smooth[name], value, share) if value.is_floating_point() else value for name, value in sharp.items()}


class BlendedGenerator(Generator):
    """Two generators of one architecture that take, beside what both take, the `sharpness` of each image."""

    def __init__(self, smooth: Generator, sharp: Generator, share: Scalar = SHARE) -> None:
        super().__init__()
        self.smooth, self.sharp, self.share = smooth, sharp, share
        self.shape, self.multiple = sharp.shape, sharp.multiple
        self._last: tuple[tuple[float, torch.device], Generator] | None = None

    @property
    def takes(self) -> Takes:
        return {**self.sharp.takes, SHARPNESS: self.share}

    def forward(self, **inputs: Tensor) -> Tensor:
        """Images of the second generator, with the weights that this pass gives it."""
        return self.sharp.generate(inputs)

    def generate(self, inputs: Mapping[str, Tensor], truncation: Tensor | None = None) -> Tensor:
        """`sharpness` is [N], or left out for its default. As one value [] for all images, its weights are part of a graph."""
        rest = {name: values for name, values in inputs.items() if name != SHARPNESS}
        given = inputs.get(SHARPNESS)
        if given is None:
            return self.at(self.share.default).generate(rest, truncation)
        if given.ndim == 0:
            weights = between(dict(self.smooth.state_dict()), dict(self.sharp.state_dict()), given)
            images: Tensor = functional_call(self, {f"{SHARP}.{name}": value for name, value in weights.items()}, (), rest)
            return images
        parts, order = [], []
        for share in given.unique().tolist():
            rows = (given == share).nonzero()[:, 0]
            own = {name: values[rows] for name, values in rest.items()}
            parts.append(self.at(share).generate(own, None if truncation is None else truncation[rows]))
            order.append(rows)
        return torch.cat(parts)[torch.cat(order).argsort()]

    def at(self, share: float) -> Generator:
        """The generator between both that is made of their weights; that of the last share is kept, and both ends are there."""
        if share in (0.0, 1.0):
            return self.sharp if share else self.smooth
        key, last = (share, next(self.parameters()).device), self._last
        if last is None or last[0] != key:
            with torch.inference_mode(False), torch.no_grad():  # so that others than those of this call can use it
                made = copy.deepcopy(self.sharp)
                made.load_state_dict(between(self.smooth.state_dict(), self.sharp.state_dict(), share))
            self._last = last = key, made
        return last[1]


def at_share(generator: Generator, share: float | None) -> Generator:
    """A generator without the input `sharpness`: at this share of it, None for its default; another generator as it is.

    Raises Refusal for a share that is out of its bounds.
    """
    if not isinstance(generator, BlendedGenerator):
        return generator
    return generator.at(generator.share.default if share is None else generator.share.read(share, ()).said)
