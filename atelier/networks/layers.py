"""What all families are made of: shapes, label conditioning, batch norm, resampling and scaled initialization."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.config.model import STAGES
from atelier.errors import AtelierError
from atelier.networks.modes import RECOMPUTED, RECORDS, is_on

SLOPE = 0.2  # of every leaky rectifier
LEAKY_GAIN = math.sqrt(2 / (1 + SLOPE**2))  # He et al. 2015, section 2.2: keeps the variance through a leaky rectifier


class NetworkError(AtelierError):
    """The networks cannot be built with these settings, or were called with labels they do not take."""


@dataclass(frozen=True)
class ImageShape:
    """Square images of `resolution` pixels a side and `channels` colors; `classes` labels, 0 for none."""

    resolution: int
    channels: int
    classes: int


class ClassEmbedding(nn.Embedding):
    """A learned vector for each class: label int64 [N] | None -> [N, width]. Raises NetworkError without labels.

    The only way by which labels enter a network; its rows are the classes, so that fine-tuning can map them by name.
    """

    def forward(self, label: Tensor | None) -> Tensor:  # type: ignore[override]
        if label is None:
            raise NetworkError("a conditional network was called without labels; pass int64 labels, one an image")
        return super().forward(label)


def class_rows(network: nn.Module) -> list[str]:
    """Names in the state dict of what has a row a class: embeddings and, where they have spectral norm, its left vectors."""
    names = [name for name, module in network.named_modules() if isinstance(module, ClassEmbedding)]
    parts = ("weight", "parametrizations.weight.original", "parametrizations.weight.0.norm._u")
    return [key for name in names for part in parts if (key := f"{name}.{part}") in network.state_dict()]


class _SumOfRanks(torch.autograd.Function):
    """The sum over all ranks, and of the gradients likewise. PyTorch's own is deprecated; what replaces it there is private."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return sum_of_ranks(gradients[0])


def sum_of_ranks(tensor: Tensor) -> Tensor:
    """The sum of this tensor over all ranks; differentiable more than once, as gradient penalties need."""
    return _SumOfRanks.apply(tensor)  # type: ignore[no-any-return]


class BatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics are those of the batch of all ranks, so that ranks change rounding only.

    The parts of gradient accumulation are normalized one by one, as everywhere. nn.SyncBatchNorm has no CPU.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and dist.is_initialized() and dist.get_world_size() > 1):
            if self.training and is_on(RECOMPUTED):  # the statistics have this batch already
                mean, variance = self.running_mean.clone(), self.running_var.clone()  # type: ignore[union-attr]
                return F.batch_norm(input, mean, variance, self.weight, self.bias, True, 0.0, self.eps)
            return super().forward(input)
        x, world = input.float(), dist.get_world_size()
        mean = sum_of_ranks(x.mean(dim=(0, 2, 3))) / world
        centered = x - mean[:, None, None]
        variance = sum_of_ranks(centered.square().mean(dim=(0, 2, 3))) / world
        if not is_on(RECOMPUTED):
            self._remember(mean, variance, world * x.numel() // x.shape[1])
        normed = centered * torch.rsqrt(variance + self.eps)[:, None, None]
        if self.affine:
            normed = normed * self.weight[:, None, None] + self.bias[:, None, None]
        return normed.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        for average, now in ((self.running_mean, mean), (self.running_var, variance * count / (count - 1))):
            average.lerp_(now, self.momentum)  # type: ignore[union-attr, arg-type]
        self.num_batches_tracked.add_(1)  # type: ignore[union-attr]


class LabelledLatent(nn.Module):
    """The generator's input: z [N, latent_dim] followed by a learned embedding of the label, [N, width] in all."""

    def __init__(self, latent_dim: int, classes: int, std: float = 1.0) -> None:
        super().__init__()
        self.embedding = ClassEmbedding(classes, latent_dim) if classes else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=std)
        self.width = latent_dim * (2 if classes else 1)

    def forward(self, z: Tensor, label: Tensor | None) -> Tensor:
        if self.embedding is None:
            return z
        return torch.cat([z, self.embedding(label)], dim=1)


class ClassPlane(nn.Module):
    """label int64 [N] -> [N, 1, H, W]: a learned image for each class, seen as one more color (Mirza and Osindero 2014)."""

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        self.side = shape.resolution
        self.embedding = ClassEmbedding(shape.classes, self.side**2)

    def forward(self, label: Tensor | None) -> Tensor:
        return self.embedding(label).view(-1, 1, self.side, self.side)


class _Reversing(torch.autograd.Function):
    """Feature maps as they are, whose gradients come back in channels_last."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        return maps.view_as(maps)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return channels_last(slope)


def channels_last(maps: Tensor) -> Tensor:
    """[N, C, H, W] in the layout in which convolutions and what follows them are fastest, after what made them of vectors."""
    return maps if is_on(RECORDS) else maps.contiguous(memory_format=torch.channels_last)


class Unflatten2d(nn.Unflatten):
    """[N, width * side * side] -> [N, width, side, side]."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__(1, (width, side, side))

    def forward(self, vectors: Tensor) -> Tensor:
        return channels_last(super().forward(vectors))


def channels_last_grad(maps: Tensor) -> Tensor:
    """Feature maps [N, C, H, W] on their way into a vector, so that their gradients return as `channels_last`, too."""
    return maps if is_on(RECORDS) else _Reversing.apply(maps)  # type: ignore[no-any-return]


def resolutions(resolution: int) -> list[int]:
    """Sides of the feature maps from the smallest up: 7, 14, 28 or 4, 8, ..., resolution. Raises NetworkError."""
    sides = [resolution]
    while sides[0] > 7 and sides[0] % 2 == 0:
        sides.insert(0, sides[0] // 2)
    if sides[0] not in (4, 7):
        allowed = ", ".join(map(str, STAGES))
        raise NetworkError(f"resolution {resolution} is not 4 or 7 times a power of two; choose among {allowed}")
    return sides


def upsample(images: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, 2H, 2W]: zeros inserted, then the filter [1, 3, 3, 1] / 4 along both axes, zeros outside.

    That is bilinear interpolation between pixel centers (Huang et al. 2024, section 3.2; their code convolves the [1, 2, 1] it
    names with [1, 1]), and the transpose of `downsample` but for a factor of 4.
    """
    height, width = (2 * _filter(2 * side, 2, images).T for side in images.shape[2:])
    return _along_both(height, width, images)


def enlarge(images: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, 2H, 2W]: `upsample` with the outermost pixels repeated outside; edges stay as bright."""
    height, width = (_filter(2 * side, 2, images).T for side in images.shape[2:])
    return _along_both(height / height.sum(dim=1, keepdim=True), width / width.sum(dim=1, keepdim=True), images)


def downsample(images: Tensor) -> Tensor:
    """[N, C, 2H, 2W] -> [N, C, H, W]: the filter [1, 3, 3, 1] / 8 along both axes, centered between pixels, zeros outside."""
    height, width = (_filter(side, 2, images) for side in images.shape[2:])
    return _along_both(height, width, images)


def smooth(images: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, H - 1, W - 1]: the filter of `downsample` between all neighbors."""
    height, width = (_filter(side, 1, images) for side in images.shape[2:])
    return _along_both(height, width, images)


def _filter(side: int, step: int, like: Tensor) -> Tensor:
    """[(side - 1) / step rounded up, side]: a row for each new pixel, a triangle around its center between two old ones."""
    old, new = torch.arange(side, device=like.device), torch.arange(0, side - 1, step, device=like.device)
    return ((2 - (old - new[:, None] - 0.5).abs()).clamp(min=0) / 4).to(like.dtype)


def _along_both(height: Tensor, width: Tensor, images: Tensor) -> Tensor:
    """Images [N, C, H, W] times matrices [h, H] and [w, W] along their axes: [N, C, h, w], in the layout channels_last.

    As matrix products filters are some ten times faster on a CPU than as pooling or interpolation, derivatives included.
    """
    rows = images.permute(0, 2, 3, 1)
    with torch.autocast(images.device.type, enabled=False):  # which would round float32 images
        rows = (height @ rows.flatten(2)).unflatten(2, rows.shape[2:])
        return (width @ rows).permute(0, 3, 1, 2)


def wide(x: Tensor) -> Tensor:
    """At least float32: what sums of many squares are taken of."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def scaled_init(layer: nn.Conv2d | nn.Linear | nn.Embedding, gain: float = 1.0) -> Any:
    """Normal weights of standard deviation gain / sqrt(fan in), biases zero (He et al. 2015, equation 10). Returns the layer.

    The fan in of an embedding is that of the inner product it takes part in: its width.
    """
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if getattr(layer, "bias", None) is not None:
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
