"""Progressive growing: the schedule, fades without a jump, resuming within one, and the published size."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from atelier.networks.layers import ImageShape
from atelier.networks.progan import Growth, ProGANDiscriminator, ProGANGenerator
from atelier.networks.progan_settings import Settings as ProGANSettings
from tests.support.small_models import LATENT, networks


def pair(resolution: int = 32) -> tuple[ProGANGenerator, ProGANDiscriminator]:
    generator, discriminator = networks("progan", True, resolution, 1)
    assert isinstance(generator, ProGANGenerator) and isinstance(discriminator, ProGANDiscriminator)
    return generator, discriminator


@pytest.mark.parametrize(
    ("progress", "level"),
    [
        (0.0, 0.0),
        (0.09, 0.0),
        (0.15, 0.5),
        (0.2, 1.0),
        (0.29, 1.0),
        (0.325, 1.25),
        (0.4, 2.0),
        (0.55, 2.5),
        (0.6, 3.0),
        (0.99, 3.0),
    ],
)
def test_stages_and_fades_take_turns(progress: float, level: float) -> None:
    """Four stages within 0.6 of the training: stable, fading, stable, fading, ... for 0.1 each."""
    growth = Growth(stages=4, grown=0.6)
    growth.advance(progress)
    assert growth.level.item() == pytest.approx(level, abs=1e-6)


def test_without_growth_everything_is_there_at_once() -> None:
    growth = Growth(stages=4, grown=0.0)
    growth.advance(0.0)
    assert growth.level.item() == 3


def test_images_are_of_the_full_size_with_the_detail_of_their_level() -> None:
    generator, _ = pair()
    z, label = torch.randn(2, LATENT), torch.tensor([1, 2])
    for level, block in ((0, 8), (1, 4), (2, 2), (3, 1)):
        generator.growth.level.fill_(level)
        generator.growth.follow(level)
        images = generator(z, label)
        assert images.shape == (2, 1, 32, 32)
        parts = images.reshape(2, 1, 32 // block, block, 32 // block, block)
        assert torch.equal(parts, parts[:, :, :, :1, :, :1].expand_as(parts))
        assert block == 1 or not torch.equal(images[..., ::block], images[..., :1].expand(-1, -1, -1, 32 // block))


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_fade_begins_and_ends_without_a_jump(stage: int) -> None:
    generator, discriminator = pair()
    z, label = torch.randn(2, LATENT), torch.tensor([1, 2])
    real = torch.rand(2, 1, 32, 32) * 2 - 1

    def at(level: float) -> tuple[torch.Tensor, ...]:
        for network in (generator, discriminator):
            network.growth.level.fill_(level)
            network.growth.follow(network.growth.level.item())
        return generator(z, label), generator.fade_real(real), discriminator(real, label).logits

    for whole, nearly in ((stage - 1, stage - 1 + 1e-4), (stage, stage - 1e-4)):
        for a, b in zip(at(whole), at(nearly), strict=True):
            torch.testing.assert_close(a, b, atol=5e-3, rtol=1e-3)
    low, middle, high = (at(level)[0] for level in (stage - 1, stage - 0.5, stage))
    torch.testing.assert_close(middle, (low + high) / 2, atol=1e-5, rtol=1e-5)


def test_real_images_fade_alike() -> None:
    generator, _ = pair()
    real = np.random.default_rng(0).normal(size=(2, 1, 32, 32)).astype(np.float32)

    def coarse(side: int) -> np.ndarray:
        block = 32 // side
        return real.reshape(2, 1, side, block, side, block).mean(axis=(3, 5)).repeat(block, axis=2).repeat(block, axis=3)

    generator.growth.level.fill_(1.25)
    generator.growth.follow(1.25)
    found = generator.fade_real(torch.from_numpy(real))
    np.testing.assert_allclose(found, 0.75 * coarse(8) + 0.25 * coarse(16), atol=1e-6)


def test_a_save_within_a_fade_goes_on_there() -> None:
    generator, discriminator = pair()
    for network in (generator, discriminator):
        network.advance(0.31)
    assert generator.growth.fading
    fresh = pair()
    z, label = torch.randn(2, LATENT), torch.tensor([1, 2])
    for old, new in zip((generator, discriminator), fresh, strict=True):
        new.load_state_dict(old.state_dict())
        assert (new.growth.stage, new.growth.fading) == (old.growth.stage, old.growth.fading)
    images = generator(z, label)
    assert torch.equal(images, fresh[0](z, label))
    assert torch.equal(discriminator(images, label).logits, fresh[1](images, label).logits)
    average = copy.deepcopy(generator)
    average.load_state_dict(fresh[0].state_dict())
    assert torch.equal(average(z, label), images)


def test_numbers_of_the_published_networks() -> None:
    """1024 px: 23.1 million parameters each (table 2 of the paper), here with the pixel layers of all stages."""
    shape = ImageShape(1024, 3, 0)
    settings = ProGANSettings(width=16, widest=512, grown=0.5, group=4)
    with torch.device("meta"):
        sizes = [
            sum(p.numel() for p in network.parameters())
            for network in (ProGANGenerator(settings, 512, shape), ProGANDiscriminator(settings, shape, "projection"))
        ]
    assert [round(size / 1e6, 1) for size in sizes] == [23.1, 23.1]
