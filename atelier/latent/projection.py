"""From an image back to the latent space: the code whose image comes nearest (Karras et al. 2020, section 5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from atelier.extractors.perceptual import Perception, distance
from atelier.io.progress import each
from atelier.models.model import draw_latents
from atelier.networks.base import LatentGenerator

TRIED, CHUNK = 512, 64  # random codes, among which the nearest is begun with
RATE, WARM_UP, COOL_DOWN = 0.1, 0.05, 0.25  # of Adam; shares of the steps (Karras et al. 2020, appendix D)
NOISE, QUIET_AFTER = 0.05, 0.75  # added to the code at the beginning, in its own standard deviations; none after this share
PIXELS = 1.0  # weight of the pixels' mean square difference beside the perceptual distance


@dataclass(frozen=True)
class Projection:
    """A code [parts, width], its label (None without classes), and how far its image is from the target's.

    `distance` is the perceptual one, `pixels` the root mean square difference of values in [-1, 1].
    """

    code: Tensor
    label: int | None
    distance: float
    pixels: float


def project(
    generator: LatentGenerator, target: Tensor, perceive: Perception, steps: int, seed: int, label: int | None = None
) -> Projection:
    """Finds the code of `target` [C, H, W] in [-1, 1]: the nearest of random ones, then `steps` of gradient descent.

    Without a `label` that of the nearest random image is kept. The randomness comes from `seed` alone.
    """
    with torch.inference_mode():
        wanted = perceive(target[None])
    code, chosen, spread = _nearest(generator, target, wanted, perceive, seed, label)
    labels = None if chosen is None else torch.tensor([chosen], device=target.device)
    random = torch.Generator().manual_seed(seed)
    code = code.clone().requires_grad_()
    optimizer = torch.optim.Adam([code], lr=RATE)
    best, best_loss = code.detach().clone(), math.inf
    for step in each(range(steps), "project", steps, "steps"):
        progress = step / steps
        optimizer.param_groups[0]["lr"] = RATE * _schedule(progress)
        noise = torch.randn(code.shape, generator=random).to(code.device)
        strength = NOISE * max(0.0, 1 - progress / QUIET_AFTER) ** 2
        image = generator.synthesize(code + strength * spread * noise, labels)
        loss = _loss(image, target, perceive, wanted)
        optimizer.zero_grad()
        loss.backward()
        if strength == 0 and loss.item() < best_loss:
            best, best_loss = code.detach().clone(), loss.item()
        optimizer.step()
    with torch.inference_mode():
        image = generator.synthesize(best, labels)
        apart = distance(perceive(image), wanted).item()
        pixels = F.mse_loss(image[0], target).sqrt().item()
    return Projection(best[0], chosen, apart, pixels)


def _loss(images: Tensor, target: Tensor, perceive: Perception, wanted: list[Tensor]) -> Tensor:
    """One number for each of the images, [N]."""
    pixels = (images - target).square().mean(dim=(1, 2, 3))
    return distance(perceive(images), [layer.expand(len(images), -1, -1, -1) for layer in wanted]) + PIXELS * pixels


@torch.inference_mode()
def _nearest(
    generator: LatentGenerator, target: Tensor, wanted: list[Tensor], perceive: Perception, seed: int, label: int | None
) -> tuple[Tensor, int | None, Tensor]:
    """The nearest of random codes [1, parts, width], its label, and the standard deviation of such codes."""
    latents, labels = draw_latents(generator.latent_dim, generator.shape.classes, TRIED, seed)
    latents = latents.to(target.device)
    if labels is not None:
        labels = (labels if label is None else torch.full_like(labels, label)).to(target.device)
    codes = generator.code(latents, labels)
    found = []
    for start in range(0, TRIED, CHUNK):
        rows = slice(start, start + CHUNK)
        images = generator.synthesize(codes[rows], None if labels is None else labels[rows])
        found.append(_loss(images, target, perceive, wanted))
    best = int(torch.cat(found).argmin())
    return codes[best : best + 1], None if labels is None else int(labels[best]), codes.std()


def _schedule(progress: float) -> float:
    """The learning rate as a share of its largest: a linear start, and a cosine end."""
    down = min(1.0, (1 - progress) / COOL_DOWN)
    return min(1.0, progress / WARM_UP) * (0.5 - 0.5 * math.cos(math.pi * down))
