"""Regularizers as equations; regularizers.py says what they are computed of and adds them to the losses.

R1, R2             Mescheder et al. 2018, eq. 9 and 10: gamma / 2 E[|grad D|^2] on real (R1) or on generated images (R2)
approximate R1, R2 Hyun et al. 2026, after Lin et al. 2025: gamma / 2 E[((D(x + sigma e) - D(x)) / sigma)^2], e normal
gradient penalty   Gulrajani et al. 2017, eq. 3: lambda E[(|grad D(x')| - 1)^2], x' between a real and a generated image
DRAGAN             Kodali et al. 2017, section 2: the same with x' near a real image
zCR                Zhao et al. 2021, algorithm 2: D(G(z)) and D(G(z + d)) alike, G(z) and G(z + d) unlike, d small
LeCam              Tseng et al. 2021, section 3: E[(D(x) - a_fake)^2] + E[(D(G(z)) - a_real)^2], a the running means of D
path length        Karras et al. 2020, eq. 4: E[(|J^T y| - a)^2], J the image's derivative by the code, a its running mean
orthogonal         Brock et al. 2019, eq. 3: |W W^T (1 - I)|^2 over the weights W, (1 - I) without the diagonal
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from atelier.networks.layers import wide
from atelier.networks.modes import no_weight_gradients

TINY = 1e-16  # under a root, whose derivative is infinite at 0


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """|d logits_i / d images_i|^2 for each image, float32 or wider [N]; differentiable (keeps the graph).

    `images` [N, ...] must require gradients and `logits` [N] come from them, each from its own image alone.
    """
    with no_weight_gradients():
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return wide(gradient).flatten(1).square().sum(dim=1)


def difference_penalty(logits: Tensor, moved: Tensor, sigma: float) -> Tensor:
    """((D(x + sigma e) - D(x)) / sigma)^2 of pairs of logits [N], float32 or wider; of small steps |grad D|^2 on average."""
    return ((wide(moved) - wide(logits)) / sigma).square()


def lipschitz_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """(|d logits_i / d images_i| - 1)^2 for each image [N]; arguments as those of `gradient_penalty`."""
    return ((gradient_penalty(logits, images) + TINY).sqrt() - 1).square()


def between(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Points on the lines from fake to real images [N, ...]; `share` [N] in [0, 1] of the real one."""
    share = share.view(-1, *[1] * (real.ndim - 1))
    return share * real + (1 - share) * fake


def near(real: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """Points near images [N, C, H, W]: a share [N] of the way to image + std / 2 x noise, `noise` uniform in [0, 1) [N, C, H, W].

    The noise and its scale are those of the authors' code; the standard deviation is each image's own, so that ranks and
    micro-batches change nothing.
    """
    moved = real + real.std(dim=(1, 2, 3), keepdim=True) / 2 * noise
    return between(real, moved, share)


def mean_square_difference(one: Tensor, other: Tensor) -> Tensor:
    """Mean of (one - other)^2 over everything, a scalar: what zCR makes small for logits and large for images."""
    return (one - other).square().mean()


def lecam(real: Tensor, fake: Tensor, real_mean: float, fake_mean: float) -> Tensor:
    """A scalar of logits [N] and of the running means of real and of fake ones."""
    return (real - fake_mean).square().mean() + (fake - real_mean).square().mean()


def path_lengths(images: Tensor, code: Tensor, noise: Tensor) -> Tensor:
    """|J^T y| for each image [N], y standard normal `noise` [N, C, H, W] over the square root of H x W; keeps the graph.

    `code` [N, parts, width] must require gradients and `images` [N, C, H, W] come from it. Of several parts, the root of the
    mean square.
    """
    along = (images * noise).sum() / math.sqrt(images.shape[2] * images.shape[3])
    with no_weight_gradients():
        (gradient,) = torch.autograd.grad(along, code, create_graph=True)
    return (wide(gradient).square().sum(dim=2).mean(dim=1) + TINY).sqrt()


def orthogonal(network: nn.Module) -> Tensor:
    """A scalar: the sum over the weights of layers, each as a matrix [outputs, inputs]; embeddings of classes are none."""
    embeddings = {id(p) for module in network.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    total = torch.zeros((), device=next(network.parameters()).device)
    for weight in network.parameters():
        if weight.ndim in (2, 4) and id(weight) not in embeddings:
            total = total + _off_diagonal(weight.flatten(1))
    return total


def _off_diagonal(rows: Tensor) -> Tensor:
    """|W W^T (1 - I)|^2 of W [outputs, inputs]; of many outputs by |W W^T| = |W^T W|, the smaller product."""
    if len(rows) <= rows.shape[1]:
        products = rows @ rows.T
        return (products - products.diag().diag()).square().sum()
    return (rows.T @ rows).square().sum() - rows.square().sum(dim=1).square().sum()
