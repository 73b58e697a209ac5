"""resnet, sagan and biggan: spectral norm, attention, conditioning, truncation and scales against independent computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm, truncnorm
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.biggan import BigGANDiscriminator, BigGANGenerator
from atelier.networks.biggan_settings import Settings as BigGANSettings
from atelier.networks.layers import ImageShape
from atelier.networks.residual import (
    ConditionalBatchNorm,
    DownBlock,
    SelfAttention,
    UpBlock,
    by_class,
    glorot,
    power_iteration,
    spectral,
)
from atelier.networks.resnet import ResNetDiscriminator, ResNetGenerator
from atelier.networks.resnet_settings import Settings as ResNetSettings
from tests.support.small_models import LATENT, networks


def numbers(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def plain(layer: nn.Module) -> nn.Module:
    return layer


@pytest.mark.parametrize("bfloat16", [False, True])
def test_spectral_norm_is_the_largest_singular_value(bfloat16: bool) -> None:
    """Renewed some times, against LAPACK; autocast does not disturb it; the gradient knows of the division."""
    torch.manual_seed(0)
    layer = spectral(nn.Conv2d(3, 5, 3))
    x = torch.randn(2, 3, 4, 4)
    for _ in range(60):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            power_iteration(layer)
            before = {name: buffer.clone() for name, buffer in layer.named_buffers()}
            layer(x)
            assert all(torch.equal(buffer, before[name]) for name, buffer in layer.named_buffers())  # a pass moves nothing
    original = layer.get_parameter("parametrizations.weight.original")
    largest = np.linalg.svd(original.detach().flatten(1).numpy(), compute_uv=False)[0]
    layer.eval()
    weight: Tensor = layer.weight  # type: ignore[assignment]
    torch.testing.assert_close(weight, original / float(largest), rtol=1e-4, atol=1e-6)
    (gradient,) = torch.autograd.grad((weight * original).sum(), original)  # type: ignore[arg-type, operator]
    assert (gradient * original).sum().item() == pytest.approx((weight * original).sum().item(), rel=1e-4)  # type: ignore[operator]


def test_every_layer_of_these_discriminators_has_spectral_norm() -> None:
    for family in ("resnet", "sagan", "biggan"):
        generator, discriminator = networks(family, True, 32, 3)
        for network, normed in ((discriminator, True), (generator, family != "resnet")):
            layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
            assert layers and all(hasattr(layer, "parametrizations") == normed for layer in layers)


def test_attention_written_out() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(8, plain).double()
    nn.init.constant_(attention.gamma, 0.7)
    x = torch.randn(2, 8, 4, 6, dtype=torch.float64)
    found = attention(x).detach().numpy()
    query, key, value, out = (
        attention.get_parameter(f"{part}.weight").detach().numpy()[:, :, 0, 0] for part in ("query", "key", "value", "out")
    )
    for image, result in zip(x.numpy(), found, strict=True):
        keys, values = (np.einsum("oc,chw->ohw", matrix, image) for matrix in (key, value))
        keys, values = (m.reshape(-1, 2, 2, 3, 2).max(axis=(2, 4)).reshape(len(m), -1) for m in (keys, values))
        for row in range(4):
            for column in range(6):
                scores = (query @ image[:, row, column]) @ keys
                shares = np.exp(scores - scores.max())
                seen = values @ (shares / shares.sum())
                np.testing.assert_allclose(result[:, row, column], image[:, row, column] + 0.7 * out @ seen, rtol=1e-10)


def test_blocks_may_pool_before_a_1x1() -> None:
    """Their shortcuts as the papers write them: a 1x1 convolution, then the mean; doubled, then a 1x1 convolution."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    down = DownBlock(3, 4, plain).double()
    body = F.avg_pool2d(down.second(F.relu(down.first(F.relu(x)))), 2)
    torch.testing.assert_close(down(x), body + F.avg_pool2d(down.skip(x), 2))
    first = DownBlock(3, 4, plain, pixels=True).double()
    body = F.avg_pool2d(first.second(F.relu(first.first(x))), 2)
    torch.testing.assert_close(first(x), body + F.avg_pool2d(first.skip(x), 2))
    same = DownBlock(3, 3, plain, halve=False).double()
    torch.testing.assert_close(same(x), x + same.second(F.relu(same.first(F.relu(x)))))
    up = UpBlock(3, 4, None, plain).double().eval()
    twice = nn.Upsample(scale_factor=2)
    body = up.second(F.relu(up.norms[1](up.first(twice(F.relu(up.norms[0](x, None)))), None)))
    torch.testing.assert_close(up(x, None), body + up.skip(twice(x)))


def test_batch_norm_of_each_class() -> None:
    torch.manual_seed(0)
    layer = ConditionalBatchNorm(3, by_class(4)).double()
    x, label = torch.randn(6, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 3, 0])
    mean, std = x.mean(dim=(0, 2, 3), keepdim=True), x.var(dim=(0, 2, 3), keepdim=True, correction=0).add(1e-5).sqrt()
    torch.testing.assert_close(layer(x, label), (x - mean) / std)  # every class begins with gain 1 and shift 0
    assert layer.gain is not None and layer.shift is not None
    gains, shifts = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    with torch.no_grad():
        layer.gain.weight.copy_(gains)  # type: ignore[operator, union-attr]
        layer.shift.weight.copy_(shifts)  # type: ignore[operator, union-attr]
    expected = (x - mean) / std * (1 + gains[label])[:, :, None, None] + shifts[label][:, :, None, None]
    torch.testing.assert_close(layer(x, label), expected)


def test_dropout_leaves_out_the_channels_that_chance_says() -> None:
    torch.manual_seed(0)
    block = UpBlock(3, 1000, None, plain, dropout=0.1).eval()
    seen: list[Tensor] = []
    block.second.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 1000)
    block(x, None), block(x, None, noise)
    whole, part = seen
    dropped = noise.numpy() < norm.ppf(0.1)
    assert 0.07 < dropped.mean() < 0.13
    kept = torch.from_numpy(~dropped)[:, :, None, None]
    torch.testing.assert_close(part, torch.where(kept, whole / 0.9, 0.0))


def test_chance_varies_what_is_painted_in_training_alone() -> None:
    generator, _ = networks("resnet", True, 28, 1)
    z, label = torch.randn(4, LATENT), torch.arange(4)
    generator.eval()
    assert torch.equal(generator(z, label), generator(z, label))
    assert not torch.equal(generator(z, label), generator(z, label, torch.full((4, generator.noise_dim), -9.0)))
    assert torch.equal(
        generator(z, label, torch.zeros(4, generator.noise_dim)), generator(z, label, torch.ones(4, generator.noise_dim))
    )
    assert networks("sagan", True, 28, 1)[0].noise_dim == 0


def test_truncation_is_that_of_a_truncated_normal() -> None:
    generator, _ = networks("biggan", True, 28, 1)
    code = torch.randn(50, 3, 2)
    for psi in (0.25, 0.5, 0.9):
        cut = truncnorm(-2 * psi, 2 * psi).ppf(norm.cdf(code.double().numpy()))
        np.testing.assert_allclose(generator.truncate(code, None, psi), cut, atol=1e-6)
    assert torch.equal(generator.truncate(code, None, 1.0), code)
    assert not generator.truncate(code, None, 0.0).any()
    each = torch.linspace(0, 1, 50)[:, None, None]
    one_by_one = torch.cat([generator.truncate(code[i : i + 1], None, each[i].item()) for i in range(50)])
    torch.testing.assert_close(generator.truncate(code, None, each), one_by_one)


def test_latents_are_hierarchical() -> None:
    """A part of the latent reaches the blocks from its own on; what is missing to equal parts is filled with zeros."""
    generator, _ = networks("biggan", True, 32, 1)
    assert isinstance(generator, BigGANGenerator)
    generator.eval()
    code = generator.code(torch.randn(2, LATENT), None)
    assert code.shape == (2, 4, 2) and not code[:, 3].any() and code[:, :3].all()
    entered: list[list[Tensor]] = [[], []]
    for block in generator.blocks:
        block.register_forward_pre_hook(lambda _, inputs: entered[-1].append(inputs[0].clone()))
    label = torch.tensor([1, 2])
    for changed in range(4):
        other = code.clone()
        other[:, changed] += 1
        entered[:] = [[]]
        generator.synthesize(code, label)
        before = entered[0]
        entered[:] = [[]]
        generator.synthesize(other, label)
        same = [torch.equal(a, b) for a, b in zip(before, entered[0], strict=True)]
        assert same == [index < changed for index in range(3)]


def test_several_scales_judge_means_of_pixels() -> None:
    torch.manual_seed(0)
    settings = BigGANSettings(
        width_generator=4, widest_generator=8, width_discriminator=4, widest_discriminator=8, attention=1, embedding=3, scales=3
    )
    discriminator = BigGANDiscriminator(settings, ImageShape(64, 3, 5), "projection").eval()
    images, label = torch.rand(2, 3, 64, 64) * 2 - 1, torch.tensor([1, 4])
    output = discriminator(images, label)
    assert output.logits.shape == (2, 3) and output.overall.shape == (2,)
    for scale, one in enumerate(discriminator.critics):
        side = 64 // 2**scale
        smaller = torch.from_numpy(images.numpy().reshape(2, 3, side, 2**scale, side, 2**scale).mean(axis=(3, 5)))
        torch.testing.assert_close(output.logits[:, scale], one(smaller, label).logits)
    assert len(discriminator.freezable_stages()) == 5
    frozen = sum(numbers(stage) for stage in discriminator.freezable_stages())
    heads = sum(numbers(one.get_submodule("head")) for one in discriminator.critics)
    assert frozen == numbers(discriminator) - heads


def test_numbers_of_the_published_networks() -> None:
    """BigGAN of 128 px and width 96: as its author's code prints. SNGAN for CIFAR-10: 4.3 and 1.1 million (StudioGAN)."""
    wide = {"width_generator": 96, "widest_generator": 1536, "width_discriminator": 96, "widest_discriminator": 1536}
    shape = ImageShape(128, 3, 1000)
    with torch.device("meta"):
        big = BigGANSettings(**wide, attention=1, embedding=128, scales=1)
        assert numbers(BigGANGenerator(big, 120, shape)) == 70_433_988
        assert numbers(BigGANDiscriminator(big, shape, "projection")) == 87_982_370
        small = ResNetSettings(
            width_generator=256, widest_generator=256, width_discriminator=128, widest_discriminator=128, dropout=0.0
        )
        cifar = ImageShape(32, 3, 0)
        assert numbers(ResNetGenerator(small, 128, cifar)) == 4_276_739
        assert round(numbers(ResNetDiscriminator(small, cifar, "projection")) / 1e6, 1) == 1.1


def test_glorot_begins_as_it_says() -> None:
    layer = glorot(nn.Conv2d(30, 50, 3))
    assert layer.weight.std().item() == pytest.approx(np.sqrt(2 / (9 * 80)), rel=0.03)  # type: ignore[operator, union-attr]
    assert not layer.bias.any()  # type: ignore[operator, union-attr]
