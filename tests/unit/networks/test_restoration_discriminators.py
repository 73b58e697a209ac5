"""Discriminators of restored pictures: SRGAN's and Real-ESRGAN's written out, what a logit sees, their sizes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atelier.networks.layers import ImageShape
from atelier.networks.restoration_sections import PixelwiseSettings
from atelier.networks.srresnet import SRGANDiscriminator
from atelier.networks.srresnet_settings import Settings as SRResNetSettings
from atelier.networks.unet_discriminator import UNetDiscriminator
from tests.support.receptive import receptive_fields
from tests.support.small_translators import translators
from tests.support.written_out import convolved, enlarged, normed, rectified, woken

EPS = 1e-3


def images() -> Tensor:
    return torch.rand(3, 6, 32, 48, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_srgans_written_out(norm: str) -> None:
    """Pairs of convolutions, the second of stride 2, norms in all but the first (Ledig et al. 2017, figure 4); then 1x1."""
    _, discriminator = translators("srresnet", norm_discriminator=norm, layers_discriminator=3)
    state, x, features = woken(discriminator), images(), []
    for index in range(6):
        x = convolved(state, f"stages.{index}.0", x, stride=1 + index % 2)
        x = rectified(normed(state, f"stages.{index}.1", x, EPS) if index and norm == "batch" else x, 0.2)
        features.append(x)
    logits = convolved(state, "head.2", rectified(convolved(state, "head.0", x), 0.2))
    assert logits.shape == (3, 1, 4, 6) and [one.shape[1] for one in features] == [4, 4, 8, 8, 16, 16]
    output = discriminator(images()[:, 3:], images()[:, :3])
    close(output.logits[0], logits)
    close(output.overall, logits.mean(dim=(1, 2, 3)))
    for found, expected in zip(output.features[0], features, strict=True):
        close(found, expected)


def test_real_esrgans_written_out() -> None:
    """Halvings, then doublings of what is interpolated, each added to the map of its side (Wang et al. 2021, figure 6)."""
    _, discriminator = translators("rrdb", layers_discriminator=3)
    state, x = woken(discriminator), images()
    maps = [rectified(convolved(state, "first.0", x), 0.2)]
    for level in range(3):
        maps.append(rectified(convolved(state, f"down.{level}.0", maps[-1], stride=2, padding=1), 0.2))
    features, x = list(maps), maps.pop()
    for level in range(3):
        x = rectified(convolved(state, f"up.{level}.1", enlarged(x, 2)), 0.2) + maps.pop()
        features.append(x)
    for layer in ("head.0.0", "head.1.0"):
        x = rectified(convolved(state, layer, x), 0.2)
    logits = convolved(state, "head.2", x)
    assert logits.shape == (3, 1, 32, 48)
    output = discriminator(images()[:, 3:], images()[:, :3])
    close(output.logits[0], logits)
    for found, expected in zip(output.features[0], features, strict=True):
        close(found, expected)


@pytest.mark.parametrize(("halvings", "field"), [(2, 13), (3, 29), (4, 61)])
def test_receptive_fields_of_srgans(halvings: int, field: int) -> None:
    """What the settings say of patches."""
    settings = SRResNetSettings(width_discriminator=2, layers_discriminator=halvings)
    discriminator = SRGANDiscriminator(settings, ImageShape(128, 1, 0), 0)
    assert receptive_fields(discriminator) == [field, field]


def test_numbers_of_the_published_networks() -> None:
    """Both follow from the figures of the papers: SRGAN's eight convolutions and dense layers at one place, Real-ESRGAN's ten."""
    shape = ImageShape(128, 3, 0)
    with torch.device("meta"):
        srgans = SRGANDiscriminator(SRResNetSettings(norm_discriminator="batch"), shape, 0)
        real = UNetDiscriminator(PixelwiseSettings(), shape, 0)
    assert sum(parameter.numel() for parameter in srgans.parameters()) == 5_215_425
    assert sum(parameter.numel() for parameter in real.parameters()) == 4_376_897


def test_all_layers_between_the_first_and_the_last_have_spectral_norm() -> None:
    """And no bias; the pictures' and the logits' layers have one."""
    _, discriminator = translators("rrdb")
    names = {name for name, _ in discriminator.named_parameters()}
    plain = {"first.0.weight", "first.0.bias", "head.2.weight", "head.2.bias"}
    assert plain < names
    assert all(name.endswith(".parametrizations.weight.original") for name in names - plain)
