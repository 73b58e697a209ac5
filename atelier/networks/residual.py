"""Residual networks with pre-activation blocks, as `resnet`, `sagan` and `biggan` have them.

Miyato et al. 2018, appendix B.4 (blocks), spectral norm (section 2.1); Zhang et al. 2019, section 3 (self-attention); Miyato and
Koyama 2018, appendix A (class-conditional batch norm). A family says how a layer begins, which layers have spectral norm, what
conditions the batch norms and where the networks attend.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import ParametrizationList

from atelier.networks.base import Discriminator, DiscriminatorOutput, Head, LatentGenerator
from atelier.networks.convolution import Convolution
from atelier.networks.layers import BatchNorm, ClassEmbedding, ImageShape, channels_last, resolutions

Layer = Callable[[nn.Module], nn.Module]
"""Takes a new convolution, linear map or embedding and gives it its first weights and, where there is one, its norm."""
Condition = Callable[[int], nn.Module] | None
"""From a width to a module that maps the condition of a batch norm to that many numbers; None for constants."""


class SpectralNorm(nn.Module):
    """PyTorch's parametrization, left alone by autocast: in bfloat16 the power iteration would not find the norm.

    The vectors are updated between the passes, not in them, and never in place: compiled, two passes before one backward pass
    (of real and generated images) would share them.
    """

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.norm = norm
        norm.n_power_iterations = 0

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            return self.norm(weight)

    @torch.no_grad()
    def power_iteration(self, weight: Tensor) -> None:
        """One step of power iteration in training."""
        self.norm._u, self.norm._v = self.norm._u.clone(), self.norm._v.clone()
        self.norm.n_power_iterations = 1
        self(weight)
        self.norm.n_power_iterations = 0


def spectral(layer: nn.Module) -> nn.Module:
    """Divides the layer's weight, a matrix of one row for each output, by its largest singular value (Miyato et al. 2018, eq. 8).

    `power_iteration` makes one step before each pass in training. It reads the weight alone: all ranks find the same.
    """
    parametrizations.spectral_norm(layer)
    stack: Any = layer.parametrizations["weight"]  # type: ignore[index]
    stack[0] = SpectralNorm(stack[0])
    return layer


def power_iteration(network: nn.Module) -> None:
    """One step of power iteration for all spectral norms of a network."""
    for norm, weight in _norms(network):
        norm.power_iteration(weight)


def frozen_spectral_state(network: nn.Module) -> Callable[[], AbstractContextManager[None]]:
    """Returns a maker of contexts in which a network's spectral norms have the vectors of now, for recomputation."""
    frozen = [(norm.norm, norm.norm._u, norm.norm._v) for norm, _ in _norms(network)]

    @contextmanager
    def restored() -> Iterator[None]:
        since = [(norm, norm._u, norm._v) for norm, *_ in frozen]
        for norm, u, v in frozen:
            norm._u, norm._v = u, v
        try:
            yield
        finally:
            for norm, u, v in since:
                norm._u, norm._v = u, v

    return restored


def _norms(network: nn.Module) -> Iterator[tuple[SpectralNorm, Tensor]]:
    """The spectral norms of a network, and the weights that they divide."""
    for module in network.modules():
        if isinstance(module, ParametrizationList) and isinstance(norm := module[0], SpectralNorm):
            yield norm, module.original


def glorot(layer: nn.Module) -> nn.Module:
    """Uniform weights whose variance is 2 / (fan in + fan out) (Glorot and Bengio 2010, eq. 16), biases zero."""
    nn.init.xavier_uniform_(layer.weight)  # type: ignore[arg-type]
    return _without_bias(layer)


def orthogonal(layer: nn.Module) -> nn.Module:
    """Weights whose rows (or columns) are orthonormal (Saxe et al. 2014), biases zero."""
    nn.init.orthogonal_(layer.weight)  # type: ignore[arg-type]
    return _without_bias(layer)


def _without_bias(layer: nn.Module) -> nn.Module:
    if getattr(layer, "bias", None) is not None:
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gain and shift follow from a condition: (1 + gain(c)) x + shift(c); without one they are learned."""

    def __init__(self, width: int, condition: Condition) -> None:
        super().__init__()
        self.norm = BatchNorm(width, affine=condition is None)
        self.gain = condition(width) if condition else None
        self.shift = condition(width) if condition else None

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        x = self.norm(x)
        if self.gain is None or self.shift is None:
            return x
        return x * (1 + self.gain(condition))[:, :, None, None] + self.shift(condition)[:, :, None, None]


def by_class(classes: int) -> Condition:
    """Gains and shifts that begin at 1 and 0 and are learned for each class; for no classes, learned constants."""

    def embedding(width: int) -> nn.Module:
        made = ClassEmbedding(classes, width)
        nn.init.zeros_(made.weight)
        return made

    return embedding if classes else None


class UpBlock(nn.Module):
    """[N, inner, H, W] -> [N, outer, 2H, 2W]: two 3x3 convolutions beside a 1x1, nearest neighbors repeated.

    While training, `noise` [N, outer] leaves out channels before the second convolution with probability `dropout`.
    """

    def __init__(self, inner: int, outer: int, condition: Condition, layer: Layer, dropout: float = 0.0) -> None:
        super().__init__()
        self.norms = nn.ModuleList([ConditionalBatchNorm(inner, condition), ConditionalBatchNorm(outer, condition)])
        self.first = layer(Convolution(inner, outer, 3, padding=1))
        self.second = layer(Convolution(outer, outer, 3, padding=1))
        self.skip = layer(Convolution(inner, outer, 1))
        self.dropout, self.threshold = dropout, NormalDist().inv_cdf(dropout) if dropout else -math.inf

    def forward(self, x: Tensor, condition: Tensor | None, noise: Tensor | None = None) -> Tensor:
        y = self.first(_twice(F.relu(self.norms[0](x, condition))))
        y = F.relu(self.norms[1](y, condition))
        if noise is not None:
            y = y * ((noise > self.threshold) / (1 - self.dropout))[:, :, None, None].to(y.dtype)
        return self.second(y) + _twice(self.skip(x))


class DownBlock(nn.Module):
    """[N, inner, H, W] -> [N, outer, H/2, W/2], or of the same size: two 3x3 convolutions beside a 1x1, means of 2x2.

    The first block of a network sees pixels, which it does not rectify. A block that changes neither size nor width has no 1x1.
    """

    def __init__(self, inner: int, outer: int, layer: Layer, halve: bool = True, pixels: bool = False) -> None:
        super().__init__()
        self.first = layer(Convolution(inner, outer, 3, padding=1))
        self.second = layer(Convolution(outer, outer, 3, padding=1))
        self.skip = layer(Convolution(inner, outer, 1)) if halve or inner != outer else nn.Identity()
        self.halve, self.pixels = halve, pixels

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(F.relu(self.first(x if self.pixels else F.relu(x))))
        # A 1x1 convolution and a mean of pixels may change places: the smaller map is convolved.
        return F.avg_pool2d(y, 2) + self.skip(F.avg_pool2d(x, 2)) if self.halve else y + self.skip(x)


class SelfAttention(nn.Module):
    """x + gamma o(attended h(x)), [N, width, H, W]: each position looks at all (Zhang et al. 2019, section 3).

    Queries and keys have an eighth of the width, values a half; keys and values are the largest of 2x2 positions, as in the
    authors' code. gamma begins at 0. Written out, since fused attention cannot be differentiated twice.
    """

    def __init__(self, width: int, layer: Layer) -> None:
        super().__init__()
        narrow = max(width // 8, 1)
        self.query, self.key = (layer(Convolution(width, narrow, 1, bias=False)) for _ in range(2))
        self.value = layer(Convolution(width, width // 2, 1, bias=False))
        self.out = layer(Convolution(width // 2, width, 1, bias=False))
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).flatten(2)
        key, value = (F.max_pool2d(part(x), 2).flatten(2) for part in (self.key, self.value))
        weights = torch.softmax(query.transpose(1, 2) @ key, dim=2)  # [N, positions, a quarter of them]
        return x + self.gamma * self.out((value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:]))


class ResidualGenerator(LatentGenerator):
    """latent -> linear to the smallest map -> an up-block for each doubling -> batch norm, ReLU, 3x3 -> tanh pixels.

    The map of the image's size has `width` channels, each smaller one twice as many, up to `widest`. `attention` is the side of
    the map that attends, 0 for none; `entry` the width of what enters the first layer.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: ImageShape,
        width: int,
        widest: int,
        condition: Condition,
        layer: Layer,
        entry: int,
        attention: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(latent_dim, shape)
        sides = resolutions(shape.resolution)
        widths = [min(width * 2**step, widest) for step in reversed(range(len(sides)))]
        self.first = layer(nn.Linear(entry, widths[0] * sides[0] ** 2))
        self.blocks = nn.ModuleList(UpBlock(a, b, condition, layer, dropout) for a, b in itertools.pairwise(widths))
        self.attending = sides.index(attention) - 1 if attention else -1  # the block after which
        self.attention = SelfAttention(widths[self.attending + 1], layer) if attention else None
        self.norm = BatchNorm(widths[-1])
        self.pixels = layer(Convolution(widths[-1], shape.channels, 3, padding=1))
        self.side, self.widths = sides[0], widths[1:]
        self.noise_dim = sum(self.widths) if dropout else 0

    def power_iteration(self) -> None:
        """Of the spectral norms."""
        power_iteration(self)

    def frozen_spectral_state(self) -> Callable[[], AbstractContextManager[None]]:
        """Of the spectral norms."""
        return frozen_spectral_state(self)

    def conditions(self, code: Tensor, label: Tensor | None) -> tuple[Tensor, list[Tensor | None]]:
        """What enters the first layer, [N, entry], and what conditions the norms of each block."""
        return code[:, 0], [label] * len(self.blocks)

    def synthesize(self, code: Tensor, label: Tensor | None, noise: Tensor | None = None) -> Tensor:
        entry, conditions = self.conditions(code, label)
        noises = [None] * len(self.widths) if noise is None else noise.split(self.widths, dim=1)
        x = channels_last(self.first(entry).unflatten(1, (-1, self.side, self.side)))
        for index, (block, condition, part) in enumerate(zip(self.blocks, conditions, noises, strict=True)):
            x = self.checkpointed(block, x, condition, part)
            if self.attention is not None and index == self.attending:
                x = self.checkpointed(self.attention, x)
        return torch.tanh(self.pixels(F.relu(self.norm(x))))


class ResidualDiscriminator(Discriminator):
    """pixels -> a down-block for each halving -> a block of the smallest map -> ReLU, sum over positions -> Head.

    The first block has `width` channels, each further one twice as many, up to `widest`. `attention` as for the generator.
    """

    def __init__(self, shape: ImageShape, conditioning: str, width: int, widest: int, layer: Layer, attention: int = 0) -> None:
        super().__init__(shape, conditioning)
        sides = resolutions(shape.resolution)[-2::-1]
        widths = [min(width * 2**step, widest) for step in range(len(sides))]
        self.layers = nn.ModuleList()
        for index, (inner, outer, side) in enumerate(zip([self.in_channels, *widths], widths, sides, strict=False)):
            block = DownBlock(inner, outer, layer, pixels=index == 0)
            self.layers.append(nn.Sequential(block, SelfAttention(outer, layer)) if side == attention else block)
        self.layers.append(DownBlock(widths[-1], widths[-1], layer, halve=False))
        self.head = Head(widths[-1], shape.classes, conditioning, layer)

    def power_iteration(self) -> None:
        """Of the spectral norms."""
        power_iteration(self)

    def frozen_spectral_state(self) -> Callable[[], AbstractContextManager[None]]:
        """Of the spectral norms."""
        return frozen_spectral_state(self)

    def freezable_stages(self) -> list[nn.Module]:
        return list(self.layers)

    def forward(self, images: Tensor, label: Tensor | None = None) -> DiscriminatorOutput:
        x = self.append_label_plane(images, label)
        for layer in self.layers:
            x = self.checkpointed(layer, x)
        return self.head(F.relu(x).sum(dim=(2, 3)), label)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")
