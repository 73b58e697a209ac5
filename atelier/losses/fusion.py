"""Losses of generators that fuse text and sound.

matching-aware penalty     Tao et al. 2022, eq. 3: E[(|grad_x D(x, t)| + |grad_t D(x, t)|)^6] at real images with their own texts,
                           here of the length of both gradients as one vector, and beyond a length of 1 along the tangent
conditioning augmentation  Zhang et al. 2017, eq. 2: KL(N(mu, sigma^2) || N(0, 1)), here the mean over the code's numbers
contrast                   van den Oord et al. 2018, eq. 4 (InfoNCE); of several that are equal each is as right as the others
                           (Khosla et al. 2020, eq. 2)

Sounds of training are moved a little along both axes, so that a few voices do for all (Jaitly and Hinton 2013, on vocal tracts).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from atelier.networks.layers import wide
from atelier.networks.modes import no_weight_gradients

POWER = 6
SHORT = 1e-6
ALIKE = 0.98  # cosine from which two texts say the same
BANDS, FRAMES = 2, 4  # by which a sound is moved at most


def matching_aware(logits: Tensor, images: Tensor, texts: Tensor) -> Tensor:
    """|grad D|^6 of each of N pairs, beyond a length of 1 its tangent 6 |grad D| - 5, float32 or wider [N]; keeps the graph.

    The tangent is ours: the sixth power of one steep pair in thousands grows Adam's second moment so large that the discriminator
    stands still for the rest of a short run. Images [N, ...] and texts [N, d] must require gradients and `logits` [N] come from
    them, each from its own pair alone.
    """
    with no_weight_gradients():
        gradients = torch.autograd.grad(logits.sum(), (images, texts), create_graph=True)
    squared = torch.stack([wide(one).flatten(1).square().sum(dim=1) for one in gradients]).sum(dim=0)
    steep = squared > 1
    beyond = POWER * torch.where(steep, squared, 1).sqrt() - (POWER - 1)
    return torch.where(steep, beyond, torch.where(steep, 1, squared) ** (POWER // 2))


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) of each number of codes [N, width], the mean over them, in nats: [N]."""
    mean, log_variance = wide(mean), wide(log_variance)
    return (log_variance.exp() + mean.square() - 1 - log_variance).mean(dim=1) / 2


def alike(texts: Tensor, labels: Tensor | None) -> Tensor:
    """Which of N records say the same, bool [N, N]: those of one class and, by the cosine of their texts [N, d], of one text."""
    direction = F.normalize(wide(texts), dim=1, eps=SHORT)
    same = direction @ direction.T > ALIKE
    if labels is not None:
        same = same | (labels[:, None] == labels[None, :])
    return same | torch.eye(len(texts), dtype=torch.bool, device=texts.device)


def contrast(heard: Tensor, texts: Tensor, same: Tensor, temperature: float) -> Tensor:
    """A scalar: the cross-entropy of finding, for what was heard [N, d], the texts [N, d] that say the `same` [N, N].

    Both are compared by their cosine over the temperature, from either side. The texts' side learns nothing.
    """
    with torch.autocast(heard.device.type, enabled=False):
        h, t = (F.normalize(wide(one), dim=1, eps=SHORT) for one in (heard, texts.detach()))
        likeness = h @ t.T / temperature
        right = same.to(h.dtype) / same.sum(dim=1, keepdim=True)
        return -sum((right * one.log_softmax(dim=1)).sum(dim=1).mean() for one in (likeness, likeness.T)) / 2  # type: ignore[return-value]


def moved(sounds: Tensor, uniform: Tensor) -> Tensor:
    """Spectrograms [N, bands, frames], each moved along both axes by whole steps that numbers [N, 2] in [0, 1) choose.

    By up to 2 bands, as in a longer or shorter vocal tract, and up to 4 frames; what stands at an edge is repeated.
    """
    shown = []
    for axis, most in enumerate((BANDS, FRAMES), start=1):
        steps = (uniform[:, axis - 1, None] * (2 * most + 1)).floor().long().to(sounds.device) - most
        last = sounds.shape[axis] - 1
        shown.append((torch.arange(last + 1, device=sounds.device) - steps).clamp(0, last))
    bands, frames = shown
    rows = torch.arange(len(sounds), device=sounds.device)
    return sounds[rows[:, None, None], bands[:, :, None], frames[:, None, :]]
