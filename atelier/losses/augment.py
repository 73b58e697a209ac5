"""Augmentation of what the discriminator sees, real and generated alike; differentiable twice, so penalties pass through.

DiffAugment: Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training".
ADA: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", section 3 and appendix B.

Drawing and applying are apart. A policy draws for a whole batch from torch's global CPU generator, so that every device sees the
same numbers, and ranks or micro-batches apply their slices of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

BRIGHTNESS, CONTRAST = 0.5, 0.5  # Zhao et al. 2020, section 3.3: ranges of the color policy
SHIFT, HOLE = 1 / 8, 1 / 2  # largest translation and side of the cutout, as shares of the image's side


@dataclass(frozen=True)
class Draws:
    """The random numbers of a batch, on the CPU: uniform in [0, 1) [N, U] and standard normal [N, M]; sliced by image."""

    uniform: Tensor
    normal: Tensor

    def __getitem__(self, part: slice) -> Draws:
        return Draws(self.uniform[part], self.normal[part])

    def repeated(self, times: int) -> Draws:
        """Those of each image for so many that are treated alike."""
        return Draws(self.uniform.repeat_interleave(times, dim=0), self.normal.repeat_interleave(times, dim=0))

    def __add__(self, other: Draws) -> Draws:
        """Those of two batches that are seen as one."""
        return Draws(torch.cat([self.uniform, other.uniform]), torch.cat([self.normal, other.normal]))


@dataclass(frozen=True)
class Policy:
    """An augmentation: how many numbers an image takes, and what is done with them."""

    uniforms: int
    normals: int
    apply: Callable[[Tensor, Draws, float], Tensor]

    def draw(self, count: int) -> Draws:
        """Numbers for `count` images."""
        return Draws(torch.rand(count, self.uniforms), torch.randn(count, self.normals))


def diffaugment(images: Tensor, draws: Draws, p: float, kinds: Collection[str]) -> Tensor:
    """Those of color, translation and cutout that `kinds` names, each with probability `p` for each image.

    [N, C, H, W] -> the same shape.
    Color: plus U(-0.5, 0.5), saturation times U(0, 2), contrast times U(0.5, 1.5), means per image. Translation: up to 1/8 of
    the side, zeros come in. Cutout: a square of half the side, centered anywhere, becomes zero.
    """
    numbers = iter(draws.uniform.to(images.device, images.dtype, non_blocking=True)[:, :, None, None, None].unbind(1))
    for kind, (_, change) in DIFFAUGMENT.items():
        if kind in kinds:
            images = torch.where(next(numbers) < p, change(images, numbers), images)
    return images


def _between(number: Tensor, low: float, high: float) -> Tensor:
    return number * (high - low) + low


def _color(images: Tensor, numbers: Iterator[Tensor]) -> Tensor:
    images = images + _between(next(numbers), -BRIGHTNESS, BRIGHTNESS)
    saturation, contrast = _between(next(numbers), 0, 2), _between(next(numbers), 1 - CONTRAST, 1 + CONTRAST)
    gray = images.mean(dim=1, keepdim=True)
    images = (images - gray) * saturation + gray
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * contrast + mean


def _translated(images: Tensor, numbers: Iterator[Tensor]) -> Tensor:
    height, width = images.shape[2:]
    down, right = (_integers(next(numbers), -int(side * SHIFT + 0.5), int(side * SHIFT + 0.5)) for side in (height, width))
    rows, columns = _pixel_rows(images) - down, _pixel_columns(images) - right
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    index = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    return _gather(images, index) * inside


def _with_hole(images: Tensor, numbers: Iterator[Tensor]) -> Tensor:
    height, width = images.shape[2:]
    tall, wide = int(height * HOLE + 0.5), int(width * HOLE + 0.5)
    top = _integers(next(numbers), 0, height - tall % 2) - tall // 2
    left = _integers(next(numbers), 0, width - wide % 2) - wide // 2
    rows, columns = _pixel_rows(images) - top, _pixel_columns(images) - left
    hole = (rows >= 0) & (rows < tall) & (columns >= 0) & (columns < wide)
    return images * ~hole


DIFFAUGMENT = {"color": (4, _color), "translation": (3, _translated), "cutout": (3, _with_hole)}  # numbers of an image, change


def _integers(number: Tensor, low: int, high: int) -> Tensor:
    """Integers from low to high, both included, [N, 1, 1, 1]."""
    return _between(number, low, high + 1).floor().clamp(low, high).long()


def _pixel_rows(images: Tensor) -> Tensor:
    return torch.arange(images.shape[2], device=images.device)[None, None, :, None]


def _pixel_columns(images: Tensor) -> Tensor:
    return torch.arange(images.shape[3], device=images.device)[None, None, None, :]


def _gather(images: Tensor, index: Tensor) -> Tensor:
    """Pixels by their position in the image: index int64 [N, 1, H, W] -> [N, C, H, W]."""
    pixels = images.flatten(2)
    return pixels.gather(2, index.flatten(2).expand(-1, images.shape[1], -1)).unflatten(2, index.shape[2:])


class AdaController:
    """Holds the mean sign of the logits on real images at its target, by changing p (Karras et al. 2020, section 3.1).

    r = E[sign D(x)] over real images; p falls or rises at 1 for `images_per_unit` images as r is under or over `target`, and
    stays within [0, p_max].
    """

    def __init__(self, target: float, images_per_unit: int, p_max: float) -> None:
        self.target, self.images_per_unit, self.p_max = target, images_per_unit, p_max
        self.p = 0.0

    def update(self, real_logits_sign_mean: float, images: int) -> float:
        """The new p, after `images` real images whose logits' signs average `real_logits_sign_mean` in [-1, 1]."""
        direction = (real_logits_sign_mean > self.target) - (real_logits_sign_mean < self.target)
        self.p = min(max(self.p + direction * images / self.images_per_unit, 0.0), self.p_max)
        return self.p

    def state_dict(self) -> dict[str, float]:
        return {"p": self.p}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.p = float(state["p"])


def ada(images: Tensor, draws: Draws, p: float) -> Tensor:
    """The blit, geometry and color transforms of Karras et al. 2020 (appendix B), each with probability `p` for each image.

    [N, C, H, W] -> the same shape, C 1 or 3. Geometry in one bilinear warp with mirrored borders: turns by multiples of 90
    degrees, integer translation up to 1/8, isotropic scale 2^N(0, 0.2), rotation by any angle before and after anisotropic scale
    2^N(0, 0.2), translation by N(0, 1/8). Color as one affine map: brightness + N(0, 0.2), contrast 2^N(0, 0.5), luma flip (the
    negative of a gray image), hue by any angle, saturation 2^N(0, 1) (both nothing to a gray image). Left out: the mirror image,
    as it makes a letter or digit another, and the wavelet antialiasing of the warp.
    """
    uniform, normal = iter(draws.uniform.unbind(1)), iter(draws.normal.unbind(1))
    # Places of pixels need more than bfloat16's 8 bits.
    with torch.autocast("cpu", enabled=False), torch.autocast(images.device.type, enabled=False):
        return _recolored(_warped(images, _geometry(images, uniform, normal, p)), _color_map(uniform, normal, p))


def _geometry(images: Tensor, uniform: Iterator[Tensor], normal: Iterator[Tensor], p: float) -> Tensor:
    """[N, 3, 3]: from an output pixel's place to the place it is read at, in pixels from the center (x right, y down)."""
    height, width = images.shape[2:]
    side = torch.tensor([width, height], dtype=torch.float)

    def gated(values: Tensor, neutral: float, p: float = p) -> Tensor:
        return _gated(next(uniform) < p, values, neutral)

    def angle() -> Tensor:
        return _between(next(uniform), -math.pi, math.pi)

    rotate_p = 1 - math.sqrt(1 - p)  # two rotations, together chosen with probability p
    place = _rotation(gated((next(uniform) * 4).floor() * (math.pi / 2), 0.0))
    shift = torch.stack([next(uniform), next(uniform)], dim=1)
    place = place @ _translation(gated((_between(shift, -SHIFT, SHIFT) * side).round(), 0.0))
    place = place @ _scaling(gated(torch.exp2(next(normal) * 0.2), 1.0)[:, None].expand(-1, 2))
    place = place @ _rotation(gated(angle(), 0.0, rotate_p))
    stretch = gated(torch.exp2(next(normal) * 0.2), 1.0)
    place = place @ _scaling(torch.stack([stretch, 1 / stretch], dim=1))
    place = place @ _rotation(gated(angle(), 0.0, rotate_p))
    return place @ _translation(gated(torch.stack([next(normal), next(normal)], dim=1) * SHIFT * side, 0.0))


def _gated(chosen: Tensor, values: Tensor, neutral: float) -> Tensor:
    """Each row of `values` where it is chosen, else `neutral`."""
    return torch.where(chosen.view(-1, *[1] * (values.ndim - 1)), values, torch.full_like(values, neutral))


def _rotation(angle: Tensor) -> Tensor:
    cos, sin, nil, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([cos, -sin, nil, sin, cos, nil, nil, nil, one], dim=1).view(-1, 3, 3)


def _translation(by: Tensor) -> Tensor:
    matrix = torch.eye(3).repeat(len(by), 1, 1)
    matrix[:, :2, 2] = by
    return matrix


def _scaling(by: Tensor) -> Tensor:
    return torch.diag_embed(torch.cat([by, torch.ones(len(by), 1)], dim=1))


def _warped(images: Tensor, place: Tensor) -> Tensor:
    """Bilinear reading at place @ (x, y, 1), borders mirrored. By gathers, which are exact on a pixel: p = 0 is the identity.

    `place` comes from the CPU; what is done for each pixel is done where the images are.
    """
    height, width = images.shape[2:]
    rows, columns = _pixel_rows(images).flatten() - (height - 1) / 2, _pixel_columns(images).flatten() - (width - 1) / 2
    x, y = torch.meshgrid(columns, rows, indexing="xy")
    at = place.to(images.device, non_blocking=True) @ torch.stack([x.flatten(), y.flatten(), torch.ones_like(x).flatten()])
    x = _mirrored(at[:, 0] + (width - 1) / 2, width).view(-1, 1, height, width)
    y = _mirrored(at[:, 1] + (height - 1) / 2, height).view(-1, 1, height, width)
    left, top = x.floor().clamp(0, width - 2), y.floor().clamp(0, height - 2)
    right_part, lower_part = (x - left).to(images), (y - top).to(images)
    index = (top * width + left).long()
    upper = _gather(images, index).lerp(_gather(images, index + 1), right_part)
    lower = _gather(images, index + width).lerp(_gather(images, index + width + 1), right_part)
    return upper.lerp(lower, lower_part)


def _mirrored(position: Tensor, side: int) -> Tensor:
    """Positions folded back into [0, side - 1] at the centers of the border pixels."""
    period = 2 * (side - 1)
    position = position.remainder(period)
    return torch.minimum(position, period - position)


def _color_map(uniform: Iterator[Tensor], normal: Iterator[Tensor], p: float) -> Tensor:
    """[N, 4, 4] on homogeneous RGB. Luma is the direction (1, 1, 1); a rotation about it is the hue."""

    def gated(values: Tensor, neutral: float) -> Tensor:
        return _gated(next(uniform) < p, values, neutral)

    luma = torch.full((3, 1), 1 / math.sqrt(3))
    gray = torch.zeros(4, 4)
    gray[:3, :3] = luma @ luma.T
    one = torch.eye(4)
    color = _translation4(gated(next(normal) * 0.2, 0.0))
    color = _scaling4(gated(torch.exp2(next(normal) * 0.5), 1.0)) @ color
    flip = gated((next(uniform) * 2).floor(), 0.0).view(-1, 1, 1)
    color = (one - 2 * flip * gray) @ color
    color = _hue(gated(_between(next(uniform), -math.pi, math.pi), 0.0)) @ color
    saturation = gated(torch.exp2(next(normal)), 1.0).view(-1, 1, 1)
    keep = gray.clone()
    keep[3, 3] = 1
    return (keep + (one - keep) * saturation) @ color


def _translation4(by: Tensor) -> Tensor:
    matrix = torch.eye(4).repeat(len(by), 1, 1)
    matrix[:, :3, 3] = by[:, None]
    return matrix


def _scaling4(by: Tensor) -> Tensor:
    return torch.diag_embed(torch.cat([by[:, None].expand(-1, 3), torch.ones(len(by), 1)], dim=1))


def _hue(angle: Tensor) -> Tensor:
    """Rotation about the gray axis: Rodrigues' formula."""
    axis = 1 / math.sqrt(3)
    cross = torch.tensor([[0, -axis, axis], [axis, 0, -axis], [-axis, axis, 0]])
    sin, cos = angle.sin().view(-1, 1, 1), angle.cos().view(-1, 1, 1)
    matrix = torch.eye(4).repeat(len(angle), 1, 1)
    matrix[:, :3, :3] = torch.eye(3) + sin * cross + (1 - cos) * (cross @ cross)
    return matrix


def _recolored(images: Tensor, color: Tensor) -> Tensor:
    """The affine color map on [N, 3, H, W]; gray images [N, 1, H, W] take what it does to the mean of equal channels."""
    color = color.to(images, non_blocking=True)
    if images.shape[1] == 1:
        scale = color[:, :3, :3].sum(dim=2).mean(dim=1)
        shift = color[:, :3, 3].mean(dim=1)
        return images * scale.view(-1, 1, 1, 1) + shift.view(-1, 1, 1, 1)
    mixed = torch.einsum("nij,njhw->nihw", color[:, :3, :3], images)
    return mixed + color[:, :3, 3].view(-1, 3, 1, 1)


def policy(name: str, kinds: Collection[str] = tuple(DIFFAUGMENT)) -> Policy:
    """The augmentation `name`: none, diffaugment (of it what `kinds` names) or ada."""
    if name == "diffaugment":
        return Policy(sum(DIFFAUGMENT[kind][0] for kind in set(kinds)), 0, partial(diffaugment, kinds=kinds))
    return {"none": Policy(0, 0, lambda images, draws, p: images), "ada": Policy(19, 7, ada)}[name]
