"""Edits in the latent space: truncation, interpolation, mixing and walks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from atelier.models.model import GeneratorError, at_once, draw_latents, slerp, to_uint8
from atelier.networks.base import LatentGenerator


@dataclass(frozen=True)
class Points:
    """Latents float32 [N, latent_dim] and their labels int64 [N], None without classes."""

    latents: Tensor
    labels: Tensor | None


def points(generator: LatentGenerator, seeds: Sequence[int], label: int | None = None) -> Points:
    """The latent of each seed, with its own label or with the one that is given: what a served generator generates for the seed.

    Raises GeneratorError for a label that the generator does not have.
    """
    classes = generator.shape.classes
    if label is not None and not 0 <= label < classes:
        raise GeneratorError(f"label {label} is none of the generator's {classes}" if classes else "the generator has no classes")
    drawn = [draw_latents(generator.latent_dim, classes, 1, seed) for seed in seeds]
    device = next(generator.parameters()).device
    latents = torch.cat([latent for latent, _ in drawn]).to(device)
    if not classes:
        return Points(latents, None)
    own = torch.cat([one for _, one in drawn if one is not None]).to(device)
    return Points(latents, own if label is None else torch.full_like(own, label))


@torch.inference_mode()
def synthesized(generator: LatentGenerator, codes: Tensor, labels: Tensor | None) -> np.ndarray:
    """uint8 images [N, C, H, W] of codes [N, parts, width], in batches."""
    parts = []
    step = at_once(generator.shape.resolution)
    for start in range(0, len(codes), step):
        rows = slice(start, start + step)
        parts.append(to_uint8(generator.synthesize(codes[rows], None if labels is None else labels[rows])))
    return np.concatenate(parts)


def truncated(generator: LatentGenerator, of: Points, psis: Sequence[float]) -> np.ndarray:
    """uint8 [points x psis, C, H, W], the psis of a point in a row: from the commonest image (0) to the point's own (1)."""
    with torch.inference_mode():
        code = generator.code(of.latents, of.labels)
        steps = [generator.truncate(code, of.labels, psi) for psi in psis]
    labels = None if of.labels is None else of.labels.repeat_interleave(len(psis))
    return synthesized(generator, torch.stack(steps, dim=1).flatten(0, 1), labels)


def between(generator: LatentGenerator, of: Points, steps: int) -> np.ndarray:
    """uint8 [(points - 1) x steps, C, H, W]: from each point to the next on the great circle, ends included (White 2016).

    Labels are not between others: half of the way has the first point's, half the second's.
    """
    shares = np.linspace(0, 1, steps)
    ways = [way(of.latents[i], of.latents[i + 1], shares) for i in range(len(of.latents) - 1)]
    labels = None
    if of.labels is not None:
        second = torch.from_numpy(shares >= 0.5).to(of.labels.device)
        labels = torch.cat([torch.where(second, of.labels[i + 1], of.labels[i]) for i in range(len(ways))])
    return _from_latents(generator, torch.cat(ways), labels)


def mixed(generator: LatentGenerator, coarse: Points, fine: Points, parts: int | None) -> np.ndarray:
    """uint8 [coarse x fine, C, H, W]: each of `coarse` (rows) mixed with each of `fine` (columns).

    Where a code has several parts, the first `parts` (half of them by default), those of the smallest feature maps, come from
    `coarse`, the others from `fine` (Karras et al. 2019, section 3.1). A code of a single part has no coarse and fine: the image
    is that of the middle of the great circle. The label is `coarse`'s. Raises GeneratorError for `parts` that there are not.
    """
    rows, columns = len(coarse.latents), len(fine.latents)
    labels = None if coarse.labels is None else coarse.labels.repeat_interleave(columns)
    with torch.inference_mode():
        one = generator.code(coarse.latents, coarse.labels)
        count = one.shape[1]
        if count == 1:
            if parts is not None:
                raise GeneratorError("this family's code has a single part, which cannot be cut; leave --parts out")
            ways = [way(a, b, np.array([0.5])) for a in coarse.latents for b in fine.latents]
            return _from_latents(generator, torch.cat(ways), labels)
        cut = count // 2 if parts is None else parts
        if not 0 < cut < count:
            raise GeneratorError(f"--parts {cut}: this generator's code has {count} parts; choose 1 to {count - 1}")
        other = generator.code(fine.latents, fine.labels)
        one, other = one.repeat_interleave(columns, dim=0), other.repeat(rows, 1, 1)
        codes = torch.cat([one[:, :cut], other[:, cut:]], dim=1)
    return synthesized(generator, codes, labels)


def walk(generator: LatentGenerator, stops: Tensor, labels: Tensor | None, frames: int) -> Iterator[np.ndarray]:
    """Yields uint8 images [tiles, C, H, W] of closed walks side by side, `frames` from one stop to the next.

    `stops` are latents [tiles, stops, latent_dim], `labels` int64 [tiles] or None. The last stop leads to the first again.
    """
    shares = np.arange(frames) / frames
    for here, there in zip(stops.unbind(1), stops.roll(-1, dims=1).unbind(1), strict=True):
        ways = torch.stack([way(first, second, shares) for first, second in zip(here, there, strict=True)], dim=1)
        for latents in ways:
            yield _from_latents(generator, latents, labels)


def way(first: Tensor, second: Tensor, shares: np.ndarray) -> Tensor:
    """Latents [len(shares), dim] on the great circle."""
    one, other = (np.repeat(end[None].double().cpu().numpy(), len(shares), axis=0) for end in (first, second))
    return torch.from_numpy(slerp(one, other, shares[:, None])).float().to(first.device)


@torch.inference_mode()
def _from_latents(generator: LatentGenerator, latents: Tensor, labels: Tensor | None) -> np.ndarray:
    return synthesized(generator, generator.code(latents, labels), labels)
