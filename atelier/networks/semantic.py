"""Pictures from label maps: spatially-adaptive normalization (SPADE), as `spade` and `oasis` have it (Park et al. 2019)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.base import Translator
from atelier.networks.inputs import Takes
from atelier.networks.layers import SLOPE, ImageShape, NetworkError
from atelier.networks.residual import frozen_spectral_state, power_iteration, spectral
from atelier.networks.translation_layers import glorot_init, norm, zero_bias
from atelier.networks.translation_sections import SemanticSettings


class Modulation(nn.Module):
    """normed [N, width, H, W] * (1 + gamma) + beta, both of them convolved from planes [N, labels, H, W] (equation 1)."""

    def __init__(self, width: int, labels: int, hidden: int) -> None:
        super().__init__()
        self.shared = nn.Conv2d(labels, hidden, 3, padding=1)
        self.both = nn.Conv2d(hidden, 2 * width, 3, padding=1)
        glorot_init(self.shared)
        for part in self.both.weight.chunk(2):  # each as a layer of its own
            nn.init.xavier_normal_(part, gain=0.02)
        zero_bias(self.both)

    def forward(self, normed: Tensor, planes: Tensor) -> Tensor:
        gamma, beta = self.both(F.relu(self.shared(planes))).chunk(2, dim=1)
        return normed * (1 + gamma) + beta


class SpadeBlock(nn.Module):
    """[N, inner, H, W] -> [N, outer, H, W]: two 3x3 convolutions beside the input, or a 1x1 where widths differ (figure 15).

    Before each of them a norm without gain and shift is modulated, the input's one by one map for the 3x3 and one for the 1x1.
    """

    def __init__(self, inner: int, outer: int, labels: int, settings: SemanticSettings) -> None:
        super().__init__()
        middle, hidden = min(inner, outer), settings.width_labels
        self.norms = nn.ModuleList(norm(settings.norm, width, settings.eps, affine=False) for width in (inner, middle))
        self.first, self.second = (spectral_glorot(nn.Conv2d(a, b, 3, padding=1)) for a, b in ((inner, middle), (middle, outer)))
        self.modulations = nn.ModuleList(Modulation(width, labels, hidden) for width in (inner, middle))
        self.around = Modulation(inner, labels, hidden) if inner != outer else None
        self.skip = spectral_glorot(nn.Conv2d(inner, outer, 1, bias=False)) if inner != outer else None

    def forward(self, x: Tensor, planes: Tensor) -> Tensor:
        normed = self.norms[0](x)
        y = self.first(F.leaky_relu(self.modulations[0](normed, planes), SLOPE))
        y = self.second(F.leaky_relu(self.modulations[1](self.norms[1](y), planes), SLOPE))
        return y + (x if self.around is None or self.skip is None else self.skip(self.around(normed, planes)))


def spectral_glorot(layer: nn.Module) -> nn.Module:
    """The layer with Glorot's weights and spectral norm."""
    glorot_init(layer)
    return spectral(layer)


class SemanticGenerator(Translator):
    """First map -> SPADE blocks with doublings between -> leaky rectifier, 3x3 -> tanh pixels.

    `widths` are those between the blocks. `gaps` are the blocks after which maps are doubled, the last first: as many as
    `settings.doublings` says. The first map is convolved from the label map, or is `linear` in the noise. With `everywhere` the
    noise is joined to the label map in all blocks.
    """

    starts_from_noise = True

    def __init__(
        self,
        settings: SemanticSettings,
        shape: ImageShape,
        takes: Takes,
        widths: Sequence[int],
        gaps: Sequence[int],
        everywhere: bool,
    ) -> None:
        super().__init__(settings, shape, takes)
        self.doubled, self.everywhere = frozenset(gaps[: settings.doublings]), everywhere
        self.multiple = 2**settings.doublings if everywhere or not self.noise_size else 0
        self.side = shape.resolution >> settings.doublings
        labels = self.planes.width + (self.noise_size if everywhere else 0)
        self.linear = nn.Linear(self.noise_size, widths[0] * self.side**2) if self.noise_size and not everywhere else None
        self.first = nn.Conv2d(labels, widths[0], 3, padding=1) if self.linear is None else None
        self.blocks = nn.ModuleList(SpadeBlock(a, b, labels, settings) for a, b in itertools.pairwise(widths))
        self.last = nn.Conv2d(widths[-1], shape.channels, 3, padding=1)
        for layer in (self.linear, self.first, self.last):
            if layer is not None:
                glorot_init(layer)

    def power_iteration(self) -> None:
        """Of the spectral norms."""
        power_iteration(self)

    def frozen_spectral_state(self) -> Callable[[], AbstractContextManager[None]]:
        """Of the spectral norms."""
        return frozen_spectral_state(self)

    def forward(self, noise: Tensor | None = None, **inputs: Tensor) -> Tensor:
        if (noise is None) != (self.noise_size == 0):
            raise NetworkError(f"this generator takes noise of {self.noise_size} numbers; pass just that")
        factor = 2 ** len(self.doubled)
        seen = self._seen(noise, inputs, factor)
        x = self.linear(noise).unflatten(1, (-1, self.side, self.side)) if self.first is None else self.first(seen)  # type: ignore[misc]
        for number, block in enumerate(self.blocks):
            x = self.checkpointed(block, x, seen)
            if number in self.doubled:
                factor //= 2
                x, seen = F.interpolate(x, scale_factor=2), self._seen(noise, inputs, factor)
        return torch.tanh(self.last(F.leaky_relu(x, SLOPE)))

    def _seen(self, noise: Tensor | None, inputs: dict[str, Tensor], factor: int) -> Tensor:
        """What blocks see of the inputs [N, ..., H, W] at a side that is smaller by the factor: every so many-th pixel."""
        planes: Tensor = self.planes({name: inputs[name][..., ::factor, ::factor] for name in self.planes.classes})
        if noise is None or not self.everywhere:
            return planes
        return torch.cat([noise[:, :, None, None].expand(-1, -1, *planes.shape[2:]), planes], dim=1)
