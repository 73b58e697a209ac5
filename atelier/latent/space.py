"""The space that is mixed and moved in: latents z or, where a family has a mapping, its codes w.

Standard normal latents lie near a sphere, and a straight line leaves it: in z means are spherical and moves keep the length. What
a mapping makes of them is mixed and moved straight on (Karras et al. 2019, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from atelier.latent.edits import Points, synthesized
from atelier.models.model import GeneratorError, draw_latents
from atelier.networks.base import LatentGenerator

CLOSE, MOST_STEPS = 1e-12, 200  # where the iteration of a spherical mean ends
TRIED = 8  # latents by which a mapping is recognized


@dataclass(frozen=True)
class Space:
    """A generator with what its points are: float [N, dim], z or w; `tied` where each of a code's `parts` is the same point."""

    generator: LatentGenerator
    mapped: bool
    tied: bool
    parts: int

    @property
    def name(self) -> str:
        """z or w."""
        return "w" if self.mapped else "z"

    def points(self, of: Points) -> Tensor:
        """[N, dim] of latents and labels."""
        if not self.mapped:
            return of.latents
        codes = self.generator.code(of.latents, of.labels)
        return codes[:, 0] if self.tied else codes.flatten(1)

    def codes(self, points: Tensor, labels: Tensor | None) -> Tensor:
        """[N, dim] -> codes [N, parts, width]."""
        if not self.mapped:
            return self.generator.code(points, labels)
        if not self.tied:
            return points.unflatten(1, (self.parts, -1))
        return points[:, None].expand(-1, self.parts, -1)

    def mean(self, points: Tensor, weights: Tensor) -> Tensor:
        """[P, dim] and weights [P], which sum to 1, -> [dim]: `spherical_mean` in z, linear in w."""
        return weights.to(points) @ points if self.mapped else spherical_mean(points, weights)

    def moved(self, points: Tensor, by: Tensor) -> Tensor:
        """[N, dim] moved by [dim] or [N, dim]; in z they keep their lengths, since others are rare among latents."""
        there = points + by
        return there if self.mapped else there * (points.norm(dim=1, keepdim=True) / there.norm(dim=1, keepdim=True))


def space_of(generator: LatentGenerator) -> Space:
    """The space of a generator. A family has a mapping where its code is no linear function of the latent."""
    latents, labels = draw_latents(generator.latent_dim, generator.shape.classes, TRIED, seed=0)
    device = next(generator.parameters()).device
    latents, labels = latents.to(device), None if labels is None else labels.to(device)
    with torch.no_grad():
        code, twice = generator.code(latents, labels), generator.code(2 * latents, labels)
    mapped = not torch.allclose(twice, 2 * code, rtol=1e-4, atol=1e-5)
    return Space(generator, mapped, mapped and bool((code == code[:, :1]).all()), code.shape[1])


def weighted(space: Space, of: Points, weights: Tensor) -> np.ndarray:
    """uint8 [lines, C, H, W]: what each line of weights [lines, P] makes of the P points; the label is the heaviest one's."""
    with torch.inference_mode():
        where = space.points(of)
        means = torch.stack([space.mean(where, line / line.sum()) for line in weights.double()])
        labels = None if of.labels is None else of.labels[weights.argmax(dim=1).to(of.labels.device)]
        return synthesized(space.generator, space.codes(means, labels), labels)


def spherical_mean(points: Tensor, weights: Tensor) -> Tensor:
    """Points [P, dim] and weights [P], which sum to 1, -> [dim]: slerp for any number of points.

    The Karcher mean of the directions (Buss and Fillmore 2001, algorithm A1), with the weighted mean of the lengths: of two
    points of one length it is slerp, which a scaled weighted sum is not. Raises GeneratorError for points that are opposite.
    """
    lengths = points.double().norm(dim=1)
    units, weights = points.double() / lengths[:, None], weights.double().to(points.device)
    mean = weights @ units
    if mean.norm() < 1e-6:
        raise GeneratorError("these latents are opposite, so that they have no mean on the sphere; choose other seeds or weights")
    mean = mean / mean.norm()
    for _ in range(MOST_STEPS):
        cosines = (units @ mean).clamp(-1, 1)
        angles, across = cosines.arccos(), units - cosines[:, None] * mean
        way = weights @ (across * (angles / angles.sin().clamp(min=CLOSE))[:, None])
        far = way.norm()
        if far < CLOSE:
            break
        mean = far.cos() * mean + far.sin() * way / far
        mean = mean / mean.norm()
    return (mean * (weights @ lengths)).to(points.dtype)
