"""Convolutions whose second derivatives are convolutions: against finite differences in float64, and against nn.Conv2d's own."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from atelier.losses.penalties import gradient_penalty
from atelier.networks.convolution import Convolution
from atelier.networks.layers import ImageShape, channels_last, channels_last_grad
from atelier.networks.modes import differentiated_twice, no_weight_gradients
from atelier.networks.r3gan import R3GANDiscriminator
from atelier.networks.r3gan_settings import Settings as R3GANSettings

FORMS: list[dict[str, Any]] = [
    {"padding": 1},
    {"padding": 1, "groups": 2, "bias": False},
    {"padding": 2, "groups": 2, "stride": 2, "dilation": 2},
]


@pytest.mark.parametrize("form", FORMS)
def test_first_and_second_derivatives_are_those_of_finite_differences(form: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = Convolution(4, 6, 3, **form).double()
    images = torch.randn(2, 4, 6, 6, dtype=torch.float64, requires_grad=True)
    parameters = tuple(layer.parameters())

    def bent(images: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
        return torch.tanh(layer._conv_forward(images, weight, bias[0] if bias else None))

    with differentiated_twice():
        assert torch.equal(layer(images), nn.Conv2d.forward(layer, images))
        assert type(layer(images).grad_fn).__name__ == "_ConvolvedBackward"
        assert torch.autograd.gradcheck(bent, (images, *parameters))
        assert torch.autograd.gradgradcheck(bent, (images, *parameters))


@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-2)])
def test_a_penalized_discriminator_learns_what_it_learns_with_the_convolutions_of_pytorch(
    precision: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    discriminator = R3GANDiscriminator(
        R3GANSettings(channels=[32, 16], group_size=8, expansion=2, blocks=1), ImageShape(8, 3, 0), "projection"
    )
    for parameter in discriminator.parameters():
        nn.init.normal_(parameter, std=0.2)
    images = channels_last(torch.randn(6, 3, 8, 8)).requires_grad_()

    def gradients(ours: bool) -> list[Tensor]:
        with (
            differentiated_twice() if ours else nullcontext(),
            torch.autocast("cpu", torch.bfloat16, precision == torch.bfloat16),
        ):
            logits = discriminator(images).overall
        loss = logits.float().sum() + gradient_penalty(logits, images).mean()
        return list(torch.autograd.grad(loss, list(discriminator.parameters())))

    for ours, theirs in zip(gradients(True), gradients(False), strict=True):
        assert (ours - theirs).norm() <= tolerance * theirs.norm()


def test_gradients_by_weights_are_left_out_where_only_images_count() -> None:
    layer, images = Convolution(2, 2, 3), torch.randn(1, 2, 5, 5, requires_grad=True)
    with differentiated_twice():
        y = layer(images).square().sum()
    with no_weight_gradients():
        (by_images,) = torch.autograd.grad(y, images, create_graph=True)
        assert torch.autograd.grad(y, [images, layer.weight], retain_graph=True, allow_unused=True)[1] is None
    by_images.square().sum().backward()
    assert layer.weight.grad is not None


def test_gradients_of_maps_that_leave_return_in_channels_last() -> None:
    maps = torch.randn(2, 8, 4, 4, requires_grad=True)
    inner = channels_last(maps * 1)
    layouts: list[bool] = []
    inner.register_hook(lambda slope: layouts.append(slope.is_contiguous(memory_format=torch.channels_last)))
    (channels_last_grad(inner).flatten(1) @ torch.randn(128, 1)).sum().backward()
    assert layouts == [True]
