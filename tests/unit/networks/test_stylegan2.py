"""StyleGAN2: modulation against weights of each image, resampling against zero insertion, styles, noise, the published size."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from atelier.networks import zoo
from atelier.networks.layers import ImageShape, downsample, upsample
from atelier.networks.stylegan2 import DownBlock, ModulatedConv, StyleGAN2Discriminator, StyleGAN2Generator, leaky
from atelier.networks.stylegan2_settings import Settings as StyleGAN2Settings
from tests.support.small_models import LATENT, model, networks


def styled(generator: object) -> StyleGAN2Generator:
    assert isinstance(generator, StyleGAN2Generator)
    return generator


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("up", [False, True])
def test_modulation_equals_weights_of_each_image(up: bool, demodulate: bool) -> None:
    """Equations 1 and 3 as they stand: every image's own weights, in one grouped convolution, after doubling by the filter."""
    torch.manual_seed(0)
    layer = ModulatedConv(4, 6, 3, 5, up, demodulate).double()
    x, style = torch.randn(3, 4, 8, 8, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    scale = layer.style(style)
    weights = layer.convolution.weight * scale[:, None, :, None, None]
    if demodulate:
        weights = weights / (weights.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
    bigger = upsample(x) if up else x
    own = F.conv2d(bigger.reshape(1, 12, *bigger.shape[2:]), weights.flatten(0, 1), padding=1, groups=3).unflatten(1, (3, 6))[0]
    found = layer(x, style)
    inside = (..., slice(2, -2), slice(2, -2)) if up else (...,)  # at the rim the two orders see other zeros
    torch.testing.assert_close(found[inside], own[inside])


def test_doubling_is_zero_insertion_convolution_filter() -> None:
    """To the rim: zeros between the pixels, the transposed convolution's sum, then [1, 3, 3, 1] x [1, 3, 3, 1] / 16."""
    torch.manual_seed(0)
    layer = ModulatedConv(2, 3, 3, 5, up=True, demodulate=False).double()
    x, style = torch.randn(2, 2, 4, 4, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    modulated = x * layer.style(style)[:, :, None, None]
    spread = torch.zeros(2, 2, 11, 11, dtype=torch.float64)
    spread[:, :, 2:-2:2, 2:-2:2] = modulated
    wide = F.conv2d(spread, layer.convolution.weight)  # 9 x 9
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)
    kernel = (line[:, None] * line / 16).expand(3, 1, 4, 4)
    torch.testing.assert_close(layer(x, style), F.conv2d(F.pad(wide, (1, 1, 1, 1)), kernel, groups=3))


def test_the_discriminator_filters_before_it_halves() -> None:
    torch.manual_seed(0)
    block = DownBlock(3, 4, residual=True).double()
    assert block.around is not None
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8
    kernel = (line[:, None] * line).expand(3, 1, 4, 4)
    y = leaky(block.first(x))
    y = F.conv2d(
        F.pad(F.conv2d(F.pad(y, (2, 2, 2, 2)), kernel, groups=3), (0, 0)), block.second.weight, block.second.bias, stride=2
    )
    expected = (leaky(y) + F.conv2d(downsample(x), block.around.weight)) / math.sqrt(2)
    torch.testing.assert_close(block(x), expected)


def test_variance_is_kept_by_demodulation() -> None:
    torch.manual_seed(0)
    layer = ModulatedConv(64, 64, 3, 8)
    y = layer(torch.randn(16, 64, 16, 16), 5 * torch.randn(16, 8))
    assert y[:, :, 2:-2, 2:-2].std().item() == pytest.approx(1, rel=0.05)


def test_noise_is_constant_outside_of_training_and_chance_within() -> None:
    generator = styled(networks("stylegan2", True, 28, 1)[0])
    with torch.no_grad():
        for layer in generator.layers:
            layer.strength.fill_(0.5)  # type: ignore[operator, union-attr]
    z, label = torch.randn(2, LATENT), torch.tensor([0, 1])
    assert torch.equal(generator(z, label), generator(z, label))
    assert generator.noise_dim == 49 + 2 * 14 * 14 + 2 * 28 * 28
    constant = torch.cat([layer.noise.flatten() for layer in generator.layers]).expand(2, -1)  # type: ignore[operator, union-attr]
    torch.testing.assert_close(generator(z, label, constant), generator(z, label))
    other = constant.clone()
    other[1] += torch.randn_like(other[1])
    same, moved = generator(z, label, other) - generator(z, label)
    assert same.abs().max() < 1e-5 < 1e-2 < moved.abs().max()


def test_mixing_takes_the_styles_of_a_second_latent_from_a_layer_on() -> None:
    torch.manual_seed(0)
    made = zoo.build(model("stylegan2", True, 28, mixing=0.9), ImageShape(28, 1, 5))
    generator = styled(made[0])
    z, second, label = torch.randn(3, LATENT), torch.randn(3, LATENT), torch.tensor([0, 1, 2])
    own, others = generator.code(z, label), generator.code(second, label)
    assert own.shape == (3, 6, LATENT)
    decisions = torch.tensor([[2.0, 0.0], [-9.0, -9.0], [-9.0, 9.0]])  # 2: in 2 % of cases above 0.9, not mixed
    noise = torch.cat([second, decisions, torch.zeros(3, generator.noise_dim - LATENT - 2)], dim=1)
    mixed = generator._mixed(own, label, noise)
    assert torch.equal(mixed[0], own[0])
    assert torch.equal(mixed[1], torch.cat([own[1, :1], others[1, 1:]]))
    assert torch.equal(mixed[2], own[2]) or torch.equal(mixed[2], torch.cat([own[2, :5], others[2, 5:]]))
    torch.testing.assert_close(generator(z, label, noise)[1], generator.synthesize(mixed, label, noise)[1])
    assert torch.equal(generator(z, label), generator.synthesize(own, label))


def test_truncation_goes_to_the_mean_style_of_each_label() -> None:
    generator = styled(networks("stylegan2", True, 28, 1)[0])
    label = torch.tensor([3, 0, 3])
    code = generator.code(torch.randn(3, LATENT), label)
    assert torch.equal(generator.truncate(code, label, 1.0), code)
    center = generator.truncate(code, label, 0.0)
    many = generator.mapping(torch.randn(20_000, LATENT), torch.full((20_000,), 3)).mean(dim=0)
    assert torch.equal(center[0], center[2]) and not torch.equal(center[0], center[1])
    assert (center[0, 0] - many).norm() < 0.15 * (code[0, 0] - many).norm()
    torch.testing.assert_close(generator.truncate(code, label, 0.3), center + 0.3 * (code - center))
    each = torch.tensor([0.0, 0.3, 1.0])[:, None, None]
    torch.testing.assert_close(generator.truncate(code, label, each)[1], generator.truncate(code, label, 0.3)[1])


def test_truncation_reads_the_weights_of_now() -> None:
    generator = styled(networks("stylegan2", False, 28, 1)[0])
    code = generator.code(torch.randn(1, LATENT), None)
    before = generator.truncate(code, None, 0.0)
    generator.load_state_dict({key: value * 1.5 for key, value in generator.state_dict().items()})
    assert not torch.equal(generator.truncate(code, None, 0.0), before)


@pytest.mark.parametrize("form", ["skip", "residual"])
def test_both_forms_of_both_players(form: str) -> None:
    torch.manual_seed(0)
    generator, discriminator = zoo.build(model("stylegan2", True, 32, generator=form, discriminator=form), ImageShape(32, 3, 5))
    label = torch.tensor([0, 1, 2, 3])
    images = generator(torch.randn(4, LATENT), label)
    assert images.shape == (4, 3, 32, 32)
    discriminator(images, label).overall.sum().backward()
    assert all(p.grad is not None for network in (generator, discriminator) for p in network.parameters())
    pixel_layers = 4 if form == "skip" else 1
    assert len(styled(generator).pixels) == pixel_layers


def test_path_derivative_is_that_of_a_finite_difference() -> None:
    torch.manual_seed(0)
    generator = styled(networks("stylegan2", True, 28, 1)[0]).double()
    label = torch.tensor([1])
    code = generator.code(torch.randn(1, LATENT, dtype=torch.float64), label).detach().requires_grad_()
    noise = torch.randn(1, 1, 28, 28, dtype=torch.float64)

    def along(at: Tensor) -> Tensor:
        return (generator.synthesize(at, label) * noise).sum()

    (gradient,) = torch.autograd.grad(along(code), code, create_graph=True)
    step = 1e-6 * torch.randn_like(code)
    with torch.no_grad():
        change = along(code + step) - along(code - step)
    assert change.item() == pytest.approx(2 * (gradient * step).sum().item(), rel=1e-4)
    gradient.square().sum().backward()
    assert generator.mapping.layers[0].parametrizations.weight.original.grad is None  # type: ignore[union-attr]
    assert generator.layers[0].convolution.style.parametrizations.weight.original.grad is not None  # type: ignore[union-attr]


def test_numbers_of_the_published_networks() -> None:
    """Configuration F at 1024 px: what the authors' code prints (noise and mean style are not learned)."""
    shape = ImageShape(1024, 3, 0)
    settings = StyleGAN2Settings(
        width=32, widest=512, mapping_layers=8, mixing=0.9, generator="skip", discriminator="residual", group=4
    )
    sizes = [
        sum(p.numel() for p in network.parameters())
        for network in (StyleGAN2Generator(settings, 512, shape), StyleGAN2Discriminator(settings, shape, "projection"))
    ]
    assert sizes == [30_370_060, 29_012_513]
