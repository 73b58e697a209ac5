"""Any style in one pass: adaptive instance normalization, Huang and Belongie 2017.

The encoder is a pretrained network, whose weights stay as they are; the decoder mirrors it. `mixed` is for several styles,
`masked` for regions with a style each, and `recolored` for colors that are kept (sections 7.3 and 7.4 of the paper).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.adain_settings import Settings
from atelier.networks.base import Generator, Network
from atelier.networks.inputs import Picture, Scalar, Takes, in_order
from atelier.networks.layers import ImageShape, NetworkError, scaled_init, wide
from atelier.networks.moments import adain, moments
from atelier.networks.vgg import LEAST_SHARE, VGG, convolutions

CONTENT, STYLE, ALPHA = "content", "style", "alpha"
FULLY = Scalar(low=0.0, high=1.0, default=1.0)
RIDGE = 1e-4  # added to the covariance of colors in 0 ... 1: of less than 3 levels of 255, nothing is amplified


def mixed(content: Tensor, styles: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Content features [N, C, H, W] in several styles at once, whose weights add up to 1: section 7.3."""
    if len(styles) != len(weights) or abs(sum(weights) - 1) > 1e-6:
        raise ValueError(f"{len(styles)} styles with weights {', '.join(f'{w:g}' for w in weights)}, which do not add up to 1")
    return torch.stack([weight * adain(content, style) for style, weight in zip(styles, weights, strict=True)]).sum(dim=0)


def masked(parts: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    """Features [N, C, H, W] each where its mask [N or 1, 1, h, w] is: masks are shrunk to the map, and divided by their sum."""
    small = [F.interpolate(wide(mask), parts[0].shape[2:], mode="area") for mask in masks]
    total = torch.stack(small).sum(dim=0).clamp_min(1e-6)
    return torch.stack([part * mask / total for part, mask in zip(parts, small, strict=True)]).sum(dim=0)


def recolored(style: Tensor, content: Tensor) -> Tensor:
    """Style pictures [N, 3, h, w] with mean and covariance of the colors of content pictures [N, 3, H, W], all in [-1, 1].

    Whitened by the symmetric root of the one covariance and colored by that of the other: CORAL (Sun, Feng and Saenko 2016,
    algorithm 1), as in section 7.4. A content in the style of what comes out keeps its colors.
    """
    flat, wanted = (wide(one).flatten(2) for one in (style, content))
    mean, target = flat.mean(dim=2, keepdim=True), wanted.mean(dim=2, keepdim=True)
    matrix = _root(_covariance(wanted - target)) @ _root(_covariance(flat - mean), inverse=True)
    return (matrix @ (flat - mean) + target).view_as(style).clamp(-1, 1)


def _covariance(centered: Tensor) -> Tensor:
    """[N, 3, P] -> [N, 3, 3], float64, with RIDGE."""
    centered = centered.double()
    ridge = 4 * RIDGE * torch.eye(3, dtype=torch.float64, device=centered.device)  # pixels are in [-1, 1]
    return centered @ centered.transpose(1, 2) / centered.shape[2] + ridge


def _root(matrices: Tensor, inverse: bool = False) -> Tensor:
    """The symmetric square roots [N, 3, 3] of covariances, or the inverses of these, float32."""
    values, vectors = torch.linalg.eigh(matrices)
    scaled = values.clamp_min(RIDGE).sqrt()
    return (vectors @ torch.diag_embed(1 / scaled if inverse else scaled) @ vectors.transpose(1, 2)).float()


class Decoder(Network):
    """Features of a layer to pixels: the encoder's convolutions backwards, neighbors repeated for its poolings, mirrored rims.

    No norms, since these would undo what the style has set (section 6.2); nothing bounds the pixels. forward takes features by
    layer. Those of layers before the last are joined to the maps of their size (Sheng et al. 2018, section 3.2); but for the
    first convolution's inputs and the pixels channels are divided by `narrowing`.
    """

    def __init__(self, kind: str, levels: Sequence[str], channels: int, narrowing: int = 1) -> None:
        super().__init__()
        shapes = list(convolutions(kind).items())
        names, self.levels = [name for name, _ in shapes], tuple(levels)
        widths = {name.replace("conv", "relu"): outer for name, (_, outer) in shapes}
        last = names.index(levels[-1].replace("relu", "conv"))
        self.layers = nn.ModuleList()
        self.doubled = dict[int, str]()  # behind which layers sides double, and what is joined there
        taken = widths[levels[-1]]
        for name, (inner, _) in reversed(shapes[: last + 1]):
            first = name == "conv1_1"
            given = channels if first else inner // narrowing
            convolution = nn.Conv2d(taken, given, 3, padding=1, padding_mode="reflect")
            self.layers.append(scaled_init(convolution, 1.0 if first else 2**0.5))
            taken = given
            if name.endswith("_1") and not first:  # the encoder pools before it
                joined = f"relu{int(name[4]) - 1}_1"
                self.doubled[len(self.layers)] = joined if joined in levels else ""
                taken += widths[joined] if joined in levels else 0

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        x = features[self.levels[-1]]
        for number, layer in enumerate(self.layers, 1):
            x = self.checkpointed(layer, x)
            if number < len(self.layers):
                x = F.relu(x)
            if number in self.doubled:
                x = F.interpolate(x, scale_factor=2.0)
                if joined := self.doubled[number]:
                    x = torch.cat([x, features[joined]], dim=1)
        return x


class AdaINGenerator(Generator):
    """A content picture in the style of another one, by `alpha`: from 0 (as the decoder makes the content) to 1.

    forward(content [N, C, H, W], style [N, C, h, w], alpha [N], [] or None for 1) -> [N, C, H, W], about [-1, 1]. Sides are
    multiples of 8, or 4 with relu3_1, and those of the style are its own.
    """

    memory_format = torch.contiguous_format

    def __init__(self, settings: Settings, shape: ImageShape, takes: Takes) -> None:
        super().__init__()
        wanted = inputs_of(shape.channels, shape.resolution)
        if {name: kind.kind for name, kind in takes.items()} != {name: kind.kind for name, kind in wanted.items()}:
            raise NetworkError(
                f"adain takes {', '.join(wanted)}, and the inputs are {', '.join(takes)}: choose model.task: style, or another "
                "model.architecture"
            )
        self.settings, self.shape, self._takes = settings, shape, in_order(takes)
        self.encoder = VGG(settings.encoder, settings.layer, padding="reflect")
        self.decoder = Decoder(settings.encoder, settings.levels, shape.channels, settings.narrowing)
        for name in settings.levels:  # of the encoder's features, for `calibrate`
            width = self.encoder.widths[name]
            self.register_buffer(self._buffer("mean", name), torch.zeros(width, 1, 1))
            self.register_buffer(self._buffer("deviation", name), torch.ones(width, 1, 1))

    @property
    def takes(self) -> Takes:
        return self._takes

    def _buffer(self, kind: str, name: str) -> str:
        """The name of a layer's means or deviations; those of the last have no more than their kind, as there was but it."""
        return kind if name == self.settings.layer else f"{kind}_{name}"

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """What the encoder's levels see of images [N, C, H, W] in [-1, 1], float32 [N, c, h, w] by layer, standardized."""
        return self.standardized(self.seen(images, self.settings.levels))

    def seen(self, images: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """What the encoder's layers see of images [N, C, H, W] in [-1, 1], float32 [N, c, h, w] by name."""
        with torch.autocast(images.device.type, enabled=False):
            layers: dict[str, Tensor] = self.encoder(images.float(), names)
        return layers

    def standardized(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The levels' features [N, c, h, w] less each channel's mean over the images of `calibrate`, over its deviation."""
        return {
            name: (seen[name] - self.get_buffer(self._buffer("mean", name))) / self.get_buffer(self._buffer("deviation", name))
            for name in self.settings.levels
        }

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Has each channel of such images' features mean 0 and deviation 1, so that a decoder learns from all of them alike.

        A channel's deviation counts as LEAST_SHARE of their mean at least.
        """
        for name, seen in self.seen(images, self.settings.levels).items():
            mean, deviation = moments(seen.transpose(0, 1).flatten(1)[None, :, :, None])
            self.get_buffer(self._buffer("mean", name)).copy_(mean[0])
            self.get_buffer(self._buffer("deviation", name)).copy_(deviation[0].clamp_min(LEAST_SHARE * deviation.mean()))

    def decode(self, features: Mapping[str, Tensor]) -> Tensor:
        """Features [N, c, h, w] by layer -> pictures, about [-1, 1]."""
        pixels: Tensor = self.decoder(features)
        return pixels

    def forward(self, content: Tensor, style: Tensor, alpha: Tensor | None = None) -> Tensor:
        seen = self.features(content)
        looks = self.features(style)
        styled = {name: adain(seen[name], looks[name]) for name in seen}
        if alpha is not None:
            share = wide(alpha).reshape(-1, 1, 1, 1)
            styled = {name: torch.lerp(seen[name], styled[name], share) for name in seen}
        return self.decode(styled)

    def generate(self, inputs: Mapping[str, Tensor], truncation: Tensor | None = None) -> Tensor:
        return self(inputs[CONTENT], inputs[STYLE], inputs.get(ALPHA))  # type: ignore[no-any-return]


def inputs_of(channels: int, resolution: int) -> Takes:
    """What it takes: two pictures, and how much of the style."""
    picture = Picture(channels=channels, resolution=resolution)  # type: ignore[arg-type]
    return {CONTENT: picture, STYLE: picture, ALPHA: FULLY}


NETWORKS = (AdaINGenerator,)
