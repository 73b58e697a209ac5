"""R3GAN's forward passes in float64, against one that knows no groups, no broadcasting and no resampling but written-out sums."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from atelier.networks.layers import ImageShape
from atelier.networks.r3gan import R3GANDiscriminator, R3GANGenerator, ResidualBlock
from atelier.networks.r3gan_settings import Settings as R3GANSettings
from tests.support.small_models import LATENT, networks

Array = np.ndarray


def leaky(x: Array) -> Array:
    return np.where(x > 0, x, 0.2 * x)


def convolved(x: Array, weight: Array, bias: Array | None = None, groups: int = 1) -> Array:
    """x [C, H, W] by weight [O, C / groups, k, k], zeros outside: an inner product for each position."""
    side, (channels, height, width) = weight.shape[2], x.shape
    dense = np.zeros((len(weight), channels, side, side))
    per_out, per_in = len(weight) // groups, channels // groups
    for out in range(len(weight)):
        first = out // per_out * per_in
        dense[out, first : first + per_in] = weight[out]
    padded = np.pad(x, ((0, 0), (side // 2, side // 2), (side // 2, side // 2)))
    y = np.array(
        [[(dense * padded[None, :, r : r + side, c : c + side]).sum(axis=(1, 2, 3)) for c in range(width)] for r in range(height)]
    ).transpose(2, 0, 1)
    return y if bias is None else y + bias[:, None, None]


def resampling(side: int) -> Array:
    """[2 side, side]: each new pixel is 3/4 of the nearest old one and 1/4 of the next, zeros beyond the rim."""
    matrix = np.zeros((2 * side, side))
    for new in range(2 * side):
        matrix[new, new // 2] = 0.75
        other = new // 2 + (1 if new % 2 else -1)
        if 0 <= other < side:
            matrix[new, other] = 0.25
    return matrix


def block(x: Array, module: ResidualBlock) -> Array:
    value = {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}
    y = leaky(convolved(x, value["expand.weight"], value["expand.bias"]))
    y = leaky(convolved(y, value["spatial.weight"], value["spatial.bias"], module.spatial.groups))
    return x + convolved(y, value["project.weight"])


def awake(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            nn.init.normal_(module.project.weight, std=0.3)
    return network.double()


def test_generator() -> None:
    generator = awake(networks("r3gan", True, 28, 1)[0])
    assert isinstance(generator, R3GANGenerator) and generator.input.embedding is not None
    z, label = torch.randn(2, LATENT, dtype=torch.float64), torch.tensor([3, 0])
    for image, latent, row in zip(generator(z, label).detach().numpy(), z.numpy(), label, strict=True):
        entry = np.concatenate([latent, generator.input.embedding.weight[row].detach().numpy()])
        scale = generator.basis.scale.weight.detach().numpy() @ entry
        x = generator.basis.basis.detach().numpy() * scale[:, None, None]
        for stage, parts in enumerate(generator.blocks):
            if stage:
                matrix = resampling(x.shape[1])
                x = np.einsum("ij,cjk,lk->cil", matrix, x, matrix)
            for part in parts:  # type: ignore[attr-defined]
                x = block(x, part)
        np.testing.assert_allclose(image, convolved(x, generator.pixels.weight.detach().numpy()), rtol=1e-9, atol=1e-12)


def test_discriminator() -> None:
    discriminator = awake(networks("r3gan", True, 28, 1)[1])
    assert isinstance(discriminator, R3GANDiscriminator) and discriminator.embedding is not None
    images, label = torch.randn(2, 1, 28, 28, dtype=torch.float64), torch.tensor([3, 0])
    for logit, image, row in zip(discriminator(images, label).logits, images.numpy(), label, strict=True):
        x = convolved(image, discriminator.entries[0].get_parameter("weight").detach().numpy())
        for stage, parts in enumerate(discriminator.blocks):
            if stage:
                matrix = resampling(x.shape[1] // 2).T / 2
                x = np.einsum("ij,cjk,lk->cil", matrix, x, matrix)
            for part in parts:  # type: ignore[attr-defined]
                x = block(x, part)
        seen = discriminator.basis.linear.weight.detach().numpy() @ (x * discriminator.basis.basis.detach().numpy()).sum(
            axis=(1, 2)
        )
        expected = seen @ discriminator.embedding.weight[row].detach().numpy()
        np.testing.assert_allclose(logit.item(), expected, rtol=1e-9)


def test_numbers_of_the_published_networks() -> None:
    """The authors' preset for CIFAR-10 with labels: 20.8 million in G."""
    settings = R3GANSettings(channels=[768] * 4, blocks=2, expansion=2, group_size=16)
    with torch.device("meta"):
        generator = R3GANGenerator(settings, 64, ImageShape(32, 3, 10))
    assert round(sum(p.numel() for p in generator.parameters()) / 1e6, 1) == 20.8
