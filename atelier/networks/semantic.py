"""Pictures from label maps: spatially-adaptive normalization (SPADE), as `spade` and `oasis` have it (Park et al. 2019)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.base import Translator
from atelier.networks.inputs import Takes
from atelier.networks.layers import SLOPE, ImageShape, NetworkError
from atelier.networks.residual import frozen_spectral_state, power_iteration, spectral
from atelier.networks.translation_layers import glorot_init, norm, zero_bias
from atelier.networks.translation_sections import SemanticSettings

MANY = 32  # classes from which looking up is quicker than convolving their planes; it always takes less memory

WITHIN = [[0, 1, 1], [1, 1, 1], [1, 1, 0]]  # taps that are within the map, at its first, its inner and its last row
ALONE = [[0, 1, 0]]  # at its only row


class Seen(NamedTuple):
    """What blocks see at the side of a map, in the order of the channels of a convolution over all of it.

    `noise` [N, numbers] is the same everywhere. `planes` are [N, ., H, W]. Of a label map with many classes there are `rows`
    int64 [N, H, W, 9] instead of planes: of a table with the weights of each tap and class, zeros after the `classes`.
    """

    noise: Tensor | None
    planes: Tensor | None
    rows: Tensor | None
    classes: int
    side: tuple[int, int]

    def convolved(self, layer: nn.Conv2d) -> Tensor:
        """The convolution of all of it, 3x3 with zeros around."""
        numbers = 0 if self.noise is None else self.noise.shape[1]
        parts: list[Tensor] = []
        if self.planes is not None:
            weight = layer.weight[:, numbers : numbers + self.planes.shape[1]]
            parts.append(F.conv2d(self.planes, weight, layer.bias, padding=1))
        else:
            assert layer.bias is not None
            parts.append(layer.bias[:, None, None])
        if self.rows is not None:
            parts.append(looked_up(self.rows, layer.weight[:, -self.classes :]))
        if self.noise is not None:
            parts.append(everywhere(self.noise, layer.weight[:, :numbers], self.side))
        return sum(parts[1:], parts[0])


def rows_of(labels: Tensor, classes: int) -> Tensor:
    """Label maps int64 [N, H, W], 255 where there is no class, to rows int64 [N, H, W, 9] of a table of all taps and classes."""
    height, width = labels.shape[1:]
    around = F.pad(labels.clamp(max=classes), (1, 1, 1, 1), value=classes)
    taps = [around[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return torch.stack([tap + number * (classes + 1) for number, tap in enumerate(taps)], dim=3)


def looked_up(rows: Tensor, weight: Tensor) -> Tensor:
    """The convolution by a weight [O, classes, 3, 3] of the planes of a label map, as the sums of the table's rows."""
    table = F.pad(weight.permute(2, 3, 1, 0).flatten(0, 1), (0, 0, 0, 1)).flatten(0, 1)
    sums = F.embedding_bag(rows.flatten(0, 2), table, mode="sum").unflatten(0, rows.shape[:3])
    return sums.permute(0, 3, 1, 2)


def everywhere(noise: Tensor, weight: Tensor, side: tuple[int, int]) -> Tensor:
    """The convolution by a weight [O, numbers, 3, 3] of planes that are filled with noise [N, numbers].

    It has nine values an image and channel, since zeros around the planes count at the rims alone.
    """
    rows, columns = (weight.new_tensor(WITHIN if length > 1 else ALONE) for length in side)
    # By pairs: the order of a longer product would depend on whether opt_einsum is installed, and so would the last bits.
    found = torch.einsum("nz,ozyx->noyx", noise, weight)
    found = torch.einsum("norx,cx->norc", torch.einsum("noyx,ry->norx", found, rows), columns)
    for axis, length in zip((2, 3), side, strict=True):
        if length > 1:
            first, inner, last = found.split(1, dim=axis)
            sizes = [-1, -1, *found.shape[2:]]
            sizes[axis] = length - 2
            found = torch.cat([first, inner.expand(sizes), last], dim=axis)
    return found


class Modulation(nn.Module):
    """normed [N, width, H, W] * (1 + gamma) + beta, both of them convolved from what is seen (equation 1)."""

    def __init__(self, width: int, labels: int, hidden: int) -> None:
        super().__init__()
        self.shared = nn.Conv2d(labels, hidden, 3, padding=1)
        self.both = nn.Conv2d(hidden, 2 * width, 3, padding=1)
        glorot_init(self.shared)
        for part in self.both.weight.chunk(2):  # each as a layer of its own
            nn.init.xavier_normal_(part, gain=0.02)
        zero_bias(self.both)

    def forward(self, normed: Tensor, seen: Seen) -> Tensor:
        gamma, beta = self.both(F.relu(seen.convolved(self.shared))).chunk(2, dim=1)
        return normed * (1 + gamma) + beta


class SpadeBlock(nn.Module):
    """[N, inner, H, W] -> [N, outer, H, W]: two 3x3 convolutions beside the input, or a 1x1 where widths differ (figure 15).

    What they convolve is normed without gain and shift, then modulated: the input once for the 3x3, once for the 1x1.
    """

    def __init__(self, inner: int, outer: int, labels: int, settings: SemanticSettings) -> None:
        super().__init__()
        middle, hidden = min(inner, outer), settings.width_labels
        self.norms = nn.ModuleList(norm(settings.norm, width, settings.eps, affine=False) for width in (inner, middle))
        self.first, self.second = (spectral_glorot(nn.Conv2d(a, b, 3, padding=1)) for a, b in ((inner, middle), (middle, outer)))
        self.modulations = nn.ModuleList(Modulation(width, labels, hidden) for width in (inner, middle))
        self.around = Modulation(inner, labels, hidden) if inner != outer else None
        self.skip = spectral_glorot(nn.Conv2d(inner, outer, 1, bias=False)) if inner != outer else None

    def forward(self, x: Tensor, seen: Seen) -> Tensor:
        normed = self.norms[0](x)
        y = self.first(F.leaky_relu(self.modulations[0](normed, seen), SLOPE))
        y = self.second(F.leaky_relu(self.modulations[1](self.norms[1](y), seen), SLOPE))
        return y + (x if self.around is None or self.skip is None else self.skip(self.around(normed, seen)))


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

    memory_format = torch.channels_last  # a sixth less time on a CPU, where no norm is of single images
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
        x = seen.convolved(self.first) if self.first is not None else self._of_noise(noise)
        for number, block in enumerate(self.blocks):
            x = self.checkpointed(block, x, seen)
            if number in self.doubled:
                factor //= 2
                x, seen = F.interpolate(x, scale_factor=2), self._seen(noise, inputs, factor)
        return torch.tanh(self.last(F.leaky_relu(x, SLOPE)))

    def _of_noise(self, noise: Tensor | None) -> Tensor:
        assert self.linear is not None
        return self.linear(noise).unflatten(1, (-1, self.side, self.side))

    def _seen(self, noise: Tensor | None, inputs: dict[str, Tensor], factor: int) -> Seen:
        """What blocks see of the inputs [N, ..., H, W] at a side that is smaller by the factor: every so many-th pixel."""
        smaller = {name: inputs[name][..., ::factor, ::factor] for name in self.planes.classes}
        maps = {name: classes for name, classes in self.planes.classes.items() if classes}
        rows, classes, planes = None, max(maps.values(), default=0), None
        mixed = any(smaller[name].is_floating_point() for name in maps)  # planes, for which a table has no rows
        if len(maps) == 1 and classes >= MANY and not mixed and not torch.compiler.is_exporting():
            rows = rows_of(smaller[next(iter(maps))], classes)
            if others := [smaller[name] for name in smaller if name not in maps]:
                planes = torch.cat(others, dim=1)
        else:
            planes = self.planes(smaller)
        height, width = smaller[next(iter(smaller))].shape[-2:]
        return Seen(noise if self.everywhere else None, planes, rows, classes, (height, width))
