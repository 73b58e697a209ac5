"""Translators of residual blocks between halvings and doublings: Johnson et al. 2016, in the form of Zhu et al. 2017."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.base import Translator
from atelier.networks.inputs import Takes
from atelier.networks.layers import ImageShape, NetworkError
from atelier.networks.translation_layers import BlurDown, BlurUp, InstanceNorm
from atelier.networks.translation_sections import Padding, ResNetTranslatorSettings


class Stage(nn.Module):
    """before -> convolution -> instance norm -> ReLU -> after."""

    def __init__(
        self, layer: nn.Module, width: int, eps: float, before: nn.Module | None = None, after: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.before, self.convolution = before or nn.Identity(), layer
        self.norm, self.after = InstanceNorm(width, eps), after or nn.Identity()

    def rest(self, x: Tensor) -> Tensor:
        """What comes after the convolution."""
        found: Tensor = self.after(F.relu(self.norm(x)))
        return found

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.convolution(self.before(x)))


class ResidualBlock(nn.Module):
    """x + normed(3x3(ReLU(normed(3x3(x))))), [N, width, H, W]."""

    def __init__(self, width: int, padding: Padding, eps: float) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1, padding_mode=padding) for _ in range(2))
        self.norms = nn.ModuleList(InstanceNorm(width, eps) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norms[1](self.second(F.relu(self.norms[0](self.first(x)))))


def halving(inner: int, outer: int, form: str, eps: float) -> Stage:
    """[N, inner, H, W] -> [N, outer, H/2, W/2]: a 3x3 convolution of stride 2, or one of stride 1 before a `blur`."""
    if form == "blur":
        return Stage(nn.Conv2d(inner, outer, 3, padding=1), outer, eps, after=BlurDown())
    return Stage(nn.Conv2d(inner, outer, 3, 2, 1), outer, eps)


def doubling(inner: int, outer: int, form: str, padding: Padding, eps: float) -> Stage:
    """[N, inner, H, W] -> [N, outer, 2H, 2W]: a 3x3 convolution that is `transposed`, or comes after or before resampling.

    After nearest neighbors (`nearest`) or a filter (`blur`), or before pixels are made of channels (`shuffle`; Shi et al. 2016).
    """
    if form == "transposed":
        return Stage(nn.ConvTranspose2d(inner, outer, 3, 2, 1, output_padding=1), outer, eps)
    if form == "blur":
        return Stage(nn.Conv2d(inner, outer, 3, padding=1), outer, eps, before=BlurUp())
    if form == "nearest":
        return Stage(nn.Conv2d(inner, outer, 3, padding=1, padding_mode=padding), outer, eps, before=nn.Upsample(scale_factor=2))
    layer = nn.Conv2d(inner, 4 * outer, 3, padding=1, padding_mode=padding)
    return Stage(nn.Sequential(layer, nn.PixelShuffle(2)), outer, eps)


class ResNetTranslator(Translator):
    """7x7 -> halvings -> residual blocks -> doublings -> 7x7 -> tanh pixels; with `unshuffle` the 7x7 are 3x3, of larger pixels.

    `form` is that of the doublings; with `blur` the halvings have it, too. With `residual` the pixels are added to the input and
    cut to [-1, 1] instead, so that white stays white.
    """

    def __init__(
        self, settings: ResNetTranslatorSettings, shape: ImageShape, takes: Takes, form: str, init: Callable[[nn.Module], None]
    ) -> None:
        super().__init__(settings, shape, takes)
        width, eps, padding = settings.width, settings.eps, settings.padding
        if settings.residual and (any(self.planes.classes.values()) or self.planes.width not in (1, shape.channels)):
            raise NetworkError(
                f"model.{settings.name()}.residual adds to one picture of 1 or {shape.channels} channels, and the inputs are "
                "others: set it to false"
            )
        self.multiple, self.blurred, self.entered = settings.shrinkage, form == "blur", shape.resolution // settings.unshuffle
        self.first = Stage(self._outer(self.planes.width, width, before=True), width, eps)
        widths = [width * 2**level for level in range(settings.halvings + 1)]
        self.down = nn.ModuleList(halving(a, b, form, eps) for a, b in itertools.pairwise(widths))
        self.blocks = nn.ModuleList(ResidualBlock(widths[-1], padding, eps) for _ in range(settings.blocks))
        self.up = nn.ModuleList(doubling(b, a, form, padding, eps) for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True))
        self.last = self._outer(width, shape.channels, before=False)
        self._begin(init)

    def _outer(self, inner: int, outer: int, before: bool) -> nn.Conv2d:
        """The convolution of the pixels that come in, or of those that go out."""
        factor, padding = self.settings.unshuffle, self.settings.padding
        side, inner, outer = 7 if factor == 1 else 3, inner * (factor**2 if before else 1), outer * (1 if before else factor**2)
        return nn.Conv2d(inner, outer, side, padding=side // 2, padding_mode=padding)

    def _begin(self, init: Callable[[nn.Module], None]) -> None:
        """First weights."""
        self.apply(init)
        if self.settings.residual:
            nn.init.zeros_(self.last.weight)

    @property
    def feature_shapes(self) -> dict[str, tuple[int, int]]:
        """Channels and side of the maps of `features`: `image` (the input), `down1`, ..., `block1` and the middle block."""
        shapes, side = {"image": (self.planes.width, self.shape.resolution)}, self.entered
        for number in range(1, len(self.down) + 1):  # a filter halves after the convolution that is looked at
            shapes[f"down{number}"] = self.settings.width * 2**number, side >> (number - self.blurred)
        for number in sorted({1, len(self.blocks) // 2 + 1}):
            shapes[f"block{number}"] = self.settings.width * 2 ** len(self.down), side >> len(self.down)
        return shapes

    def forward(self, noise: Tensor | None = None, **inputs: Tensor) -> Tensor:
        return self._passed(inputs)[0]

    def features(self, **inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The picture, and the maps [N, C, h, w] of `feature_shapes` that were passed on the way to it (Park et al. 2020).

        `down1`, `down2`, ... are convolved, not yet normed; blocks are added to what they saw.
        """
        picture, maps = self._passed(inputs)
        return picture, {name: maps[name] for name in self.feature_shapes}

    def encode(self, **inputs: Tensor) -> dict[str, Tensor]:
        """The maps of `features` alone, without what comes after the last of them."""
        given = self.planes(inputs)
        _, maps = self._encoded(F.pixel_unshuffle(given, self.settings.unshuffle), len(self.blocks) // 2 + 1)
        return {name: given if name == "image" else maps[name] for name in self.feature_shapes}

    def _passed(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        given, factor = self.planes(inputs), self.settings.unshuffle
        x, maps = self._trunk(F.pixel_unshuffle(given, factor))
        pixels = F.pixel_shuffle(self.last(x), factor)
        return (given + pixels).clamp(-1, 1) if self.settings.residual else torch.tanh(pixels), maps | {"image": given}

    def _trunk(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Everything before the last convolution."""
        x, maps = self._encoded(x, len(self.blocks))
        for stage in self.up:
            x = self.checkpointed(stage, x)
        return x, maps

    def _encoded(self, x: Tensor, blocks: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Everything up to a block."""
        maps: dict[str, Tensor] = {}
        x = self.checkpointed(self.first, x)
        for number, stage in enumerate(self.down, 1):
            maps[f"down{number}"] = x = stage.convolution(x)  # type: ignore[operator, union-attr]
            x = self.checkpointed(stage.rest, x)  # type: ignore[arg-type, union-attr]
        for number, block in enumerate(self.blocks[:blocks], 1):
            maps[f"block{number}"] = x = self.checkpointed(block, x)
        return x, maps
