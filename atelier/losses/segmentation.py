"""Losses of OASIS, whose discriminator D names each pixel's class (Sushko et al. 2021, section 3.2).

discriminator   -E[a_c log D(x)_c] - E[log D(G)_0], c the pixel's class in the map that x belongs to and G is made from
generator       -E[a_c log D(G)_c]
LabelMix        |D(M x + (1 - M) G) - (M D(x) + (1 - M) D(G))|^2 of logits, M a mask that chooses whole classes

Logits are [N, 1 + K, H, W] with channel 0 for "generated", label maps int64 [N, H, W] of K classes with 255 for pixels that are
not counted. a_c is inverse to the class's share: each class that is there weighs alike, and pixels weigh 1 in the mean.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from atelier.networks.layers import sum_of_ranks, wide

IGNORED = 255


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """a_c of the batch's label maps, float64 [K]: pixels / (classes that are there x pixels of the class); 0 for others.

    Classes are counted on all ranks, pixels on this one: losses are means over its own, and gradients means over ranks.
    """
    index = torch.where(labels == IGNORED, classes, labels).flatten()
    own = torch.bincount(index, minlength=classes + 1)[:classes].double()
    counts = sum_of_ranks(own) / dist.get_world_size() if dist.is_initialized() else own
    there = counts > 0
    return torch.where(there, own.sum() / (there.sum() * torch.where(there, counts, 1)), 0)


def discriminator_loss(real: Tensor, fake: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """A scalar of the logits of real and of generated images; of these each pixel counts alike."""
    return _called_by_class(real, labels, weights) - wide(fake).log_softmax(dim=1)[:, 0].mean()


def generator_loss(fake: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """A scalar of the logits of generated images: each pixel is to be called what the map says."""
    return _called_by_class(fake, labels, weights)


def _called_by_class(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The mean over pixels that count of weight x cross-entropy with the map's class; 0 where no pixel counts."""
    target = torch.where(labels == IGNORED, IGNORED, labels + 1)
    weights = F.pad(weights, (1, 0)).to(logits.device, torch.promote_types(logits.dtype, torch.float32))
    total = F.cross_entropy(wide(logits), target, weights, ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp_min(1)


def labelmix_mask(labels: Tensor, coins: Tensor) -> Tensor:
    """M, 1 for pixels of the real image: float32 [N, 1, H, W] of a coin for each class, bool [N, K].

    The authors draw one row for the whole batch. Pixels that are not counted are those of the generated image.
    """
    chosen = F.pad(coins.to(labels.device), (0, 1))
    index = torch.where(labels == IGNORED, coins.shape[1], labels)
    return chosen.gather(1, index.flatten(1)).view_as(labels)[:, None].float()


def mixed(mask: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """M real + (1 - M) fake, of images or of logits."""
    return mask * real + (1 - mask) * fake


def labelmix_loss(mixture: Tensor, mask: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """A scalar of the logits of the mixture, of the real and of the generated images; all of them learn."""
    return (wide(mixture) - mixed(mask, wide(real), wide(fake))).square().mean()
