"""A fixed batch of latents, by which a generator is watched: its picture over time, and its diversity."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atelier.generator import draw_latents, to_uint8
from atelier.networks.layers import Generator
from atelier.pictures import grid, png

COMPARED = 128  # images between which distances are taken
ROWS, COLUMNS = 8, 10  # of the picture


class Sight:
    """The same latents at every moment of a run; with classes, each column of the picture is one of the first COLUMNS.

    `real` are COMPARED real images [N,C,H,W] in [-1, 1] with their labels, None without classes: the unit of diversity.
    """

    def __init__(self, generator: Generator, seed: int, real: Tensor, labels: Tensor | None) -> None:
        classes = generator.shape.classes
        self.columns = min(classes, COLUMNS) or COLUMNS
        count = max(COMPARED, ROWS * self.columns)
        latents, _ = draw_latents(generator.latent_dim, classes, count, seed)
        self.latents = latents.to(real.device)
        self.labels = (torch.arange(count) % self.columns).to(real.device) if classes else None
        self.real_distance = pairwise_distance(real, labels)

    @torch.no_grad()
    def diversity(self, generator: nn.Module) -> float:
        """Mean distance between the images of the batch, over that between real images."""
        images, labels = self._painted(generator, COMPARED)
        return pairwise_distance(images.float().clamp(-1, 1), labels) / self.real_distance

    @torch.no_grad()
    def picture(self, generator: nn.Module) -> bytes:
        """The first images of the batch as a PNG."""
        images, _ = self._painted(generator, ROWS * self.columns)
        return png(grid(to_uint8(images), self.columns))

    def _painted(self, generator: nn.Module, count: int) -> tuple[Tensor, Tensor | None]:
        labels = None if self.labels is None else self.labels[:count]
        return generator(self.latents[:count], labels), labels


def pairwise_distance(images: Tensor, labels: Tensor | None) -> float:
    """Mean Euclidean distance between the images [N,C,H,W] of every pair, within classes where two images share a label.

    A collapsed generator draws the same image (of a class) from every latent: its distance goes to 0.
    """
    flat = images.flatten(1).float()
    distances = torch.cdist(flat, flat)
    counted = ~torch.eye(len(flat), dtype=torch.bool, device=flat.device)
    if labels is not None and (alike := counted & (labels[:, None] == labels[None, :])).any():
        counted = alike
    return distances[counted].mean().item()
