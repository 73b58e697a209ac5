"""Discriminators of patches: what a logit sees, by gradient, and several scales written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from atelier.networks.layers import ImageShape
from atelier.networks.patchgan import Form, PatchGAN, PatchGANs
from atelier.networks.translation_layers import normal_init
from tests.support.receptive import receptive_fields


@pytest.mark.parametrize(("halvings", "field"), [(0, 1), (1, 16), (2, 34), (3, 70)])
def test_receptive_fields(halvings: int, field: int) -> None:
    """Isola et al. 2017, appendix 6.1.2: pixels, patches of 16 and 70 px; 34 between them."""
    discriminator = PatchGANs(Form(2, halvings, normal_init, normed="none"), 1, ImageShape(128, 1, 0), 0)
    assert receptive_fields(discriminator) == [field, field]


def test_several_scales_see_means_of_pixels() -> None:
    torch.manual_seed(0)
    form = Form(4, 2, normal_init, padding=2)
    discriminator = PatchGANs(form, 3, ImageShape(32, 3, 0), 2).double()
    images, condition = torch.randn(2, 3, 32, 32).double(), torch.randn(2, 2, 32, 32).double()
    output = discriminator(images, condition)
    assert [tuple(logits.shape[2:]) for logits in output.logits] == [(11, 11), (7, 7), (5, 5)]
    seen = torch.cat([condition, images], dim=1)
    for number, (scale, logits, features) in enumerate(zip(discriminator.scales, output.logits, output.features, strict=True)):
        assert isinstance(scale, PatchGAN)
        if number:  # of the 3x3 around every second pixel, those that there are
            padded, there = nn.functional.pad(seen, [1] * 4), nn.functional.pad(torch.ones_like(seen), [1] * 4)
            sums, counts = (part.unfold(2, 3, 2).unfold(3, 3, 2).sum(dim=(4, 5)) for part in (padded, there))
            seen = sums / counts
        x = seen
        for stage, feature in zip(scale.stages, features, strict=True):
            x = stage(x)
            torch.testing.assert_close(feature, x)
        torch.testing.assert_close(logits, scale.head(x))
    torch.testing.assert_close(output.overall, sum(logits.mean(dim=(1, 2, 3)) for logits in output.logits) / 3)


def test_layers_are_as_the_form_says() -> None:
    """No norm on the first and the last; widths up to eight times the first."""
    scale = PatchGAN(Form(4, 5, normal_init, normed="batch", biased=False), 3)
    convolutions = [stage[0] for stage in scale.stages]  # type: ignore[index]
    assert [layer.out_channels for layer in convolutions] == [4, 8, 16, 32, 32, 32]
    assert [layer.bias is not None for layer in convolutions] == [True] + [False] * 5
    assert [any(isinstance(part, nn.BatchNorm2d) for part in stage.modules()) for stage in scale.stages] == [False] + [True] * 5
    assert [layer.stride[0] for layer in convolutions] == [2] * 5 + [1]
