"""Images of 512 and 1024 px: every family moves, a run goes from files to a generator, and what is watched stays small."""

from __future__ import annotations

import pytest
import torch

from atelier.networks import zoo
from atelier.networks.layers import ImageShape
from atelier.tasks.base import StepWeights
from atelier.tasks.generation.task import Generation
from tests.support.driver import tiny
from tests.support.large_images import small
from tests.support.small_models import FROM_NOISE, LATENT
from tests.support.updates import labeled

FILTERED = ("stylegan2", "r3gan")  # whose filters are products with matrices of the image's side


@pytest.mark.parametrize(
    ("family", "side"),
    [(family, side) for family in FROM_NOISE for side in (512, 1024) if side == 512 or family not in FILTERED],
)
def test_every_family_moves(family: str, side: int) -> None:
    """One update of each network has finite gradients; the smaller side is augmented and penalized, too."""
    more = ["train.augment=diffaugment"] if side == 512 else ["train.augment=none", "train.regularizers.r1=0.0"]
    train = tiny("train.penalty_every=1", "train.objective=nonsaturating", "train.regularizers.r2=0.0", *more).train
    torch.manual_seed(0)
    task = Generation(small(family, side), train, ImageShape(side, 1, 0))
    batch = labeled(torch.rand(2, 1, side, side) * 2 - 1, torch.zeros(2, dtype=torch.long))
    for update in task.updates:
        network = task.networks[update.name]
        network.advance(1.0)
        task.activate(update)
        loss, _ = task.loss(update, batch, task.draw(update, 2), StepWeights(1.0, 0.5))
        loss.backward()
        assert torch.isfinite(loss) and all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("family", FILTERED)
def test_families_with_filters_generate_and_judge(family: str) -> None:
    """At 1024 px, where a whole step of them takes a minute on a core."""
    torch.manual_seed(0)
    generator, discriminator = zoo.build(small(family, 1024), ImageShape(1024, 1, 0))
    with torch.no_grad():
        images = generator(torch.randn(1, LATENT), None)
        assert images.shape == (1, 1, 1024, 1024) and torch.isfinite(images).all()
        assert torch.isfinite(discriminator(images.repeat(discriminator.group, 1, 1, 1), None).overall).all()
