"""The families: shapes, conditioning, second derivatives, initialization; resampling against an independent convolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from atelier.losses import penalties
from atelier.losses.adversarial import OBJECTIVES
from atelier.networks import zoo
from atelier.networks.base import Discriminator
from atelier.networks.layers import ImageShape, NetworkError, class_rows, downsample, enlarge, upsample
from atelier.networks.modes import differentiated_twice
from atelier.networks.r3gan import ResidualBlock
from atelier.networks.r3gan_settings import Settings as R3GANSettings
from tests.support.small_models import FROM_NOISE, LATENT, model, networks


def wake(network: torch.nn.Module) -> None:
    """Gives weights that begin at zero, or near it, a value, so that every path of the network matters."""
    for name, parameter in network.named_parameters():
        if (not parameter.any() or ".modulation." in name) and not name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resolution", [28, 32, 64])
@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("family", FROM_NOISE)
def test_shapes_and_every_parameter_used(family: str, conditional: bool, resolution: int, channels: int) -> None:
    generator, discriminator = networks(family, conditional, resolution, channels)
    label = torch.tensor([0, 4, 2, 2]) if conditional else None
    images = generator(torch.randn(4, LATENT), label)
    logits = discriminator(images, label).overall
    assert images.shape == (4, channels, resolution, resolution)
    assert logits.shape == (4,)
    assert generator.latent_dim == LATENT
    assert generator.shape == discriminator.shape == ImageShape(resolution, channels, 5 if conditional else 0)
    for progress in np.linspace(0, 1, 17):  # what grows uses its parts one after the other
        for network in (generator, discriminator):
            network.advance(progress)
        discriminator(generator(torch.randn(4, LATENT), label), label).overall.sum().backward()
    unused = [name for network in (generator, discriminator) for name, p in network.named_parameters() if p.grad is None]
    assert unused == []  # DistributedDataParallel would wait for them


@pytest.mark.parametrize("resolution", [128, 256])
@pytest.mark.parametrize("family", ["dcgan", "r3gan"])
def test_large_images(family: str, resolution: int) -> None:
    generator, discriminator = networks(family, False, resolution, 3)
    images = generator(torch.randn(2, LATENT), None)
    assert images.shape == (2, 3, resolution, resolution)
    assert discriminator(images, None).overall.shape == (2,)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("family", FROM_NOISE)
def test_penalty_reaches_the_weights(family: str, bfloat16: bool, layout: torch.memory_format) -> None:
    """The gradient of R1 by a weight equals its finite difference; in bfloat16 it is near the float32 one."""
    _, discriminator = networks(family, True, 28, 1)
    wake(discriminator)
    discriminator.eval()  # the power iteration of spectral norm would move between two passes
    weight = next(p for p in discriminator.freezable_stages()[0].parameters() if p.ndim > 1)
    images, label = torch.randn(8, 1, 28, 28), torch.arange(8) % 5

    def penalty(network: Discriminator, images: Tensor) -> Tensor:
        images = images.requires_grad_()
        with differentiated_twice():
            logits = network(images, label).overall
        return penalties.gradient_penalty(logits, images).mean()

    double = discriminator.double()
    value = penalty(double, images.double())
    (expected,) = torch.autograd.grad(value, weight)
    direction, step = expected / expected.norm(), 1e-7  # so short that no rectifier turns
    with torch.no_grad():
        weight.add_(step * direction)
    above = penalty(double, images.double())
    with torch.no_grad():
        weight.sub_(2 * step * direction)
    below = penalty(double, images.double())
    with torch.no_grad():
        weight.add_(step * direction)
    assert ((above - below) / (2 * step)).item() == pytest.approx(expected.norm().item(), rel=1e-3)

    single = discriminator.float().to(memory_format=layout)  # type: ignore[call-overload]
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        value = penalty(single, images.clone().contiguous(memory_format=layout))
    (gradient,) = torch.autograd.grad(value, weight)
    error = (gradient - expected).norm() / expected.norm()
    assert error < (0.15 if bfloat16 else 1e-3)


@pytest.mark.parametrize("family", FROM_NOISE)
def test_the_label_changes_the_picture_and_the_verdict(family: str) -> None:
    generator, discriminator = networks(family, True, 28, 1)
    wake(generator)
    z, zeros, ones = torch.randn(16, LATENT), torch.zeros(16, dtype=torch.long), torch.ones(16, dtype=torch.long)
    generator.eval()
    pictures = generator(z, zeros)
    assert (pictures - generator(z, ones)).abs().mean() > 0.1 * pictures.std()

    # Class 0 is black, class 1 white: D learns that the other label is a lie.
    images = torch.cat([torch.full((16, 1, 28, 28), -0.8), torch.full((16, 1, 28, 28), 0.8)])
    images = images + torch.randn_like(images) * 0.1
    label = torch.cat([zeros, ones])
    optimizer = torch.optim.Adam(discriminator.parameters(), 3e-3)
    for _ in range(12):
        optimizer.zero_grad()
        right, wrong = discriminator(images, label).overall, discriminator(images, 1 - label).overall
        OBJECTIVES["nonsaturating"].discriminator(right, wrong).backward()
        optimizer.step()
    assert (discriminator(images, label).overall > discriminator(images, 1 - label).overall).all()


@pytest.mark.parametrize("family", FROM_NOISE)
def test_conditional_networks_ask_for_labels(family: str) -> None:
    generator, discriminator = networks(family, True, 28, 1)
    with pytest.raises(NetworkError, match="labels"):
        generator(torch.randn(2, LATENT), None)
    with pytest.raises(NetworkError, match="labels"):
        discriminator(torch.randn(2, 1, 28, 28), None)
    with pytest.raises(NetworkError, match=r"model\.conditional"):
        zoo.build(model(family), ImageShape(28, 1, 0))


@pytest.mark.parametrize("family", FROM_NOISE)
def test_classes_enter_through_one_kind_of_module(family: str) -> None:
    """Another number of classes changes the shape of ClassEmbedding rows alone."""
    for five, seven in zip(networks(family, True, 28, 1), zoo.build(model(family), ImageShape(28, 1, 7)), strict=True):
        rows = set(class_rows(five))
        other = seven.state_dict()
        assert {name for name, value in five.state_dict().items() if value.shape != other[name].shape} == rows
        assert all(other[name].shape[0] == 7 for name in rows) and rows


@pytest.mark.parametrize("family", FROM_NOISE)
def test_same_seed_same_networks(family: str) -> None:
    for first, second in zip(networks(family, True, 28, 1), networks(family, True, 28, 1), strict=True):
        for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
            assert torch.equal(a, b), name


def test_number_of_stages_is_checked() -> None:
    with pytest.raises(NetworkError, match=r"model\.r3gan\.channels has 3 entries.* 64 px need 5"):
        zoo.build(model("r3gan"), ImageShape(64, 3, 5))
    with pytest.raises(NetworkError, match=r"resolution 30 is not 4 or 7 times a power of two"):
        zoo.build(model("dcgan"), ImageShape(30, 1, 5))


def test_residual_block_starts_as_the_identity() -> None:
    block = ResidualBlock(8, R3GANSettings(channels=[8], blocks=1, expansion=2, group_size=4), depth=3)
    x = torch.randn(2, 8, 7, 7)
    assert torch.equal(block(x), x)
    wake(block)
    assert not torch.equal(block(x), x)


def test_residual_block_scale() -> None:
    """n = 3 convolutions, 16 blocks: gains of 16^(-1/4) = 1/2 of sqrt(2 / 1.04) over sqrt(fan in)."""
    torch.manual_seed(0)
    block = ResidualBlock(64, R3GANSettings(channels=[64], blocks=1, expansion=2, group_size=16), depth=16)
    assert block.expand.weight.std().item() == pytest.approx(0.5 * np.sqrt(2 / 1.04 / 64), rel=0.03)
    assert block.spatial.weight.std().item() == pytest.approx(0.5 * np.sqrt(2 / 1.04 / (16 * 9)), rel=0.03)


def test_grouped_convolution_sees_its_group_alone() -> None:
    block = ResidualBlock(8, R3GANSettings(channels=[8], blocks=1, expansion=2, group_size=4), depth=1)
    x = torch.randn(1, 16, 5, 5)
    changed = x.clone()
    changed[:, 5] += 1.0
    moved = (block.spatial(x) - block.spatial(changed)).abs().sum(dim=(0, 2, 3)) > 0
    assert moved.nonzero().flatten().tolist() == [4, 5, 6, 7]


def test_parameter_counts() -> None:
    """Counted by hand: w = 8 channels, 16 inside in groups of 4, three stages, latent 6, embedding 6, 5 classes."""
    block = (8 * 16 + 16) + (16 * 4 * 9 + 16) + 16 * 8
    generator, discriminator = networks("r3gan", True, 28, 1)
    assert count(generator) == 5 * 6 + (8 * 7 * 7 + 12 * 8) + 3 * block + 8
    assert count(discriminator) == 8 + 3 * block + (8 * 7 * 7 + 8 * 8) + 5 * 8
    generator, discriminator = networks("dcgan", True, 28, 1)
    assert count(generator) == 5 * 6 + 12 * 8 * 49 + 2 * 8 + 8 * 4 * 16 + 2 * 4 + 4 * 16 + 1
    features = 8 * 49
    assert count(discriminator) == (16 * 4 + 4) + (4 * 8 * 16 + 8) + (features + 1) + 5 * features
    generator, discriminator = networks("mlp_deep", False, 28, 1)
    assert count(generator) == (6 + 1) * 16 + (16 + 1) * 24 + (24 + 1) * 784
    assert count(discriminator) == (784 + 1) * 24 + (24 + 1) * 16 + (16 + 1)


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_batch_norm_is_in_every_dcgan_stage_but_the_first() -> None:
    _, discriminator = zoo.build(model("dcgan", batch_norm=True), ImageShape(64, 3, 5))
    normed = [any(isinstance(m, torch.nn.BatchNorm2d) for m in stage.modules()) for stage in discriminator.freezable_stages()]
    assert normed == [False, True, True, True]


@pytest.mark.parametrize("family", FROM_NOISE)
def test_stages_run_from_the_image_up(family: str) -> None:
    """Freezing them all leaves the head alone; the first takes the image's channels, or its pixels, or a patch of each depth."""
    _, discriminator = networks(family, True, 32, 3)
    first = next(m for m in discriminator.freezable_stages()[0].modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear))
    assert first.weight.shape[1] in (3, 3 * 32 * 32, 4 * 3 * 4 * 4)
    for stage in discriminator.freezable_stages():
        stage.requires_grad_(False)
    left = {name for name, p in discriminator.named_parameters() if p.requires_grad}
    assert left and all(set(name.split(".")) & {"head", "basis", "embedding"} for name in left)


def reference_upsample(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    spread = np.zeros((2 * height + 3, 2 * width + 3))
    spread[2:-1:2, 2:-1:2] = image  # zeros between, and a border for the filter
    kernel = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
    return np.array([[(spread[i : i + 4, j : j + 4] * kernel).sum() for j in range(2 * width)] for i in range(2 * height)])


def reference_downsample(image: np.ndarray) -> np.ndarray:
    padded = np.pad(image, 1)
    kernel = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
    height, width = image.shape
    return np.array([[(padded[i : i + 4, j : j + 4] * kernel).sum() for j in range(0, width, 2)] for i in range(0, height, 2)])


def test_resampling_equals_the_written_out_convolution() -> None:
    images = torch.randn(2, 3, 6, 4, dtype=torch.float64)
    for sampled, reference in ((upsample(images), reference_upsample), (downsample(images), reference_downsample)):
        for image in range(2):
            for channel in range(3):
                np.testing.assert_allclose(sampled[image, channel], reference(images[image, channel].numpy()), atol=1e-12)


def test_enlarging_repeats_the_border() -> None:
    images = torch.randn(2, 3, 6, 4, dtype=torch.float64)
    torch.testing.assert_close(enlarge(images), F.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False))


def test_resampling_is_a_transposed_pair() -> None:
    """<up x, y> = 4 <x, down y>: what R3GAN's two networks mirror."""
    x, y = torch.randn(1, 1, 5, 5, dtype=torch.float64), torch.randn(1, 1, 10, 10, dtype=torch.float64)
    assert float((upsample(x) * y).sum()) == pytest.approx(4 * float((x * downsample(y)).sum()))


def test_resampling_has_no_direction() -> None:
    """A filter that is not centered would shift the image by half a pixel a stage."""
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64)
    for change in (upsample, downsample):
        torch.testing.assert_close(change(x).flip(3), change(x.flip(3)))
        torch.testing.assert_close(change(x).flip(2), change(x.flip(2)))
