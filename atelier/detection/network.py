"""A small network that tells generated images from real ones."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.extractors.passes import in_chunks
from atelier.metrics.fitting import BATCH, descend, normalized, shift

WIDTHS = (32, 32, 48)


class DetectingNet(nn.Module):
    """Images float [N, C, H, W] in [-1, 1] -> logits [N, 1]: above 0 rather generated.

    It sees an image and what the image loses at half its size, which holds traces of upsampling (NPR,
    Tan et al. 2024, with means instead of single pixels), in blocks of 2 x 2 pixels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        given, layers = 8 * channels, []
        for place, width in enumerate(WIDTHS):
            stride = 2 if place == 1 else 1
            layers += [nn.Conv2d(given, width, 3, stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            given = width
        self.layers = nn.Sequential(*layers)
        self.score = nn.Linear(given, 1)

    def forward(self, images: Tensor) -> Tensor:
        images = F.pad(images, (0, images.shape[3] % 2, 0, images.shape[2] % 2), mode="replicate")
        lost = images - F.interpolate(F.avg_pool2d(images, 2), scale_factor=2.0, mode="nearest")
        blocks = F.pixel_unshuffle(torch.cat([images, lost], dim=1), 2)
        scored: Tensor = self.score(self.layers(blocks).mean(dim=(2, 3)))
        return scored


def network(channels: int, seed: int) -> DetectingNet:
    """The network with weights drawn by `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DetectingNet(channels).to(memory_format=torch.channels_last)


def fit(real: np.ndarray, generated: np.ndarray, shown: int, seed: int, title: str, progress: bool) -> DetectingNet:
    """A network that learnt from images uint8 [V, N, C, H, W] in V versions, of which each image is shown a random one.

    Cross-entropy of batches of 64, `shown` images in all, moved by up to 1/14 of a side. Equal inputs give equal weights.
    """
    images = np.concatenate([real, generated], axis=1)
    labels = torch.arange(images.shape[1]) >= real.shape[1]
    made = network(images.shape[2], seed)

    def loss_of(rows: np.ndarray, random: np.random.Generator) -> Tensor:
        version = random.integers(len(images), size=len(rows))
        moved = shift(images.shape[-1], random)(normalized(torch.from_numpy(images[version, rows])))
        return F.binary_cross_entropy_with_logits(made(moved)[:, 0], labels[torch.from_numpy(rows)].float())

    descend(made, np.arange(images.shape[1]), shown, seed, loss_of, title, progress)
    return made.eval().requires_grad_(False)


def scores(made: nn.Module, images: np.ndarray) -> np.ndarray:
    """Logits float64 [N] of images uint8 [N, C, H, W]."""
    return in_chunks(lambda batch: made(normalized(batch)), images, BATCH, 1)[:, 0].astype(np.float64)
