"""Perceptual distances between images that correspond: what the layers of a pretrained network see differs at each place.

perceptual   Zhang et al. 2018, eq. 1, all layers and channels alike (atelier.extractors.perceptual), in any network
LPIPS        the same equation with the published weights of channels, in AlexNet: "lin", version 0.1, summed over layers
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from atelier.extractors.passes import in_chunks
from atelier.extractors.perceptual import Perception
from atelier.extractors.tensors import State, tensors
from atelier.extractors.weights import read_published
from atelier.metrics.pairs import Error

ALEXNET_URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
ALEXNET_SHA256 = "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"
HEADS_URL = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/alex.pth"
HEADS_SHA256 = "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"
ALEXNET_TAPS = (1, 4, 7, 9, 11)  # the rectifier after each convolution
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of colors in [-1, 1]
SMALLEST = 31  # px, of which one place is left in AlexNet's last layers
CHUNK = 8  # pairs of a pass


class Lpips(nn.Module):
    """The distance of images [N, C, H, W] in [-1, 1] of at least 31 px from others, float32 [N]."""

    def __init__(self, perceive: Perception, heads: Sequence[Tensor]) -> None:
        super().__init__()
        self.perceive, self.heads = perceive, heads

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        pairs = zip(self.heads, self.perceive(one), self.perceive(other), strict=True)
        return torch.stack([((a - b).square() * head).sum(dim=1).mean(dim=(1, 2)) for head, a, b in pairs]).sum(dim=0)


def load_lpips() -> Lpips:
    """LPIPS with the published weights, fetched once and held to their hashes. Raises ExtractorError without a network."""
    other = "take lpips out for perceptual, which needs no network"
    files = ((ALEXNET_URL, ALEXNET_SHA256), (HEADS_URL, HEADS_SHA256))
    trunk, heads = (read_published(url, sha256, "evaluate.metrics: lpips", other) for url, sha256 in files)
    return lpips(tensors(trunk), tensors(heads))


def lpips(trunk: State, heads: State) -> Lpips:
    """LPIPS of the state dict of torchvision's alexnet and that of the heads, [1, c, 1, 1] a layer."""
    from torchvision.models import alexnet

    with torch.random.fork_rng(devices=[]):
        layers = alexnet(weights=None).features
    layers.load_state_dict({key.removeprefix("features."): value for key, value in trunk.items() if "features." in key})
    weights = [heads[f"lin{layer}.model.1.weight"] for layer in range(len(ALEXNET_TAPS))]
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # it would write over what is compared
    starts = (0, *(tap + 1 for tap in ALEXNET_TAPS))
    parts = [layers[start : tap + 1] for start, tap in zip(starts, ALEXNET_TAPS, strict=False)]
    return Lpips(Perception(nn.ModuleList(parts), _centered), weights)


def _centered(images: Tensor) -> Tensor:
    shift, scale = (torch.tensor(values, device=images.device)[:, None, None] for values in (SHIFT, SCALE))
    return (images - shift) / scale


def of_pairs(distance: Callable[[Tensor, Tensor], Tensor]) -> Error:
    """`distance` of images in [-1, 1] as one of uint8 arrays, which depends on the pair alone."""

    def passed(pairs: Tensor) -> Tensor:
        images, target = (pairs.float() / 127.5 - 1).chunk(2, dim=1)
        return distance(images, target)[:, None]

    def error(images: np.ndarray, target: np.ndarray) -> np.ndarray:
        return in_chunks(passed, np.concatenate([images, target], axis=1), CHUNK, 1)[:, 0]

    return error
