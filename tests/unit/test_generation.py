"""The two losses of image generation, against values worked out by hand for linear networks."""

from __future__ import annotations

import math

import pytest
import torch

from atelier.config import settings
from atelier.config.section import SettingsError
from atelier.losses import augment
from atelier.networks.base import DiscriminatorOutput, Network
from atelier.networks.layers import ImageShape
from atelier.tasks.base import StepWeights
from atelier.tasks.generation.task import Generation, GenerationDraws
from tests.support.small import PARAMS
from tests.support.updates import UPDATES, labeled


def generation(*overrides: str) -> Generation:
    chosen = settings.load(PARAMS, ["model.architecture=mlp", "model.conditional=false", "train.augment=none", *overrides])
    torch.manual_seed(0)
    return Generation(chosen.model, chosen.train, ImageShape(28, 1, 0))


class Linear(Network):
    """D(x) = scale times the sum of the pixels, squared: its gradient is 2 scale^2 (sum of x) in every pixel."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def forward(self, x: torch.Tensor, label: torch.Tensor | None) -> DiscriminatorOutput:
        return DiscriminatorOutput((self.scale * x.flatten(1).sum(dim=1)) ** 2)


class Flat(torch.nn.Module):
    """G(z) = z[0] in every pixel."""

    latent_dim = 1

    def forward(self, z: torch.Tensor, label: torch.Tensor | None, noise: torch.Tensor | None) -> torch.Tensor:
        return z[:, :1, None, None].expand(-1, 1, 28, 28)


def test_discriminator_loss_by_hand() -> None:
    """One real image of 0.5, one fake of -0.25: each term on its own side, gamma / 2 before each penalty."""
    task = generation("train.objective=relativistic", "train.regularizers.r1=6.0", "train.regularizers.r2=10.0")
    scale, n = 0.01, 784
    task.discriminator = task._discriminator_pass = Linear(scale)  # type: ignore[assignment]
    task._generator_pass = Flat()
    images = torch.full((1, 1, 28, 28), 0.5)
    none = augment.policy("none")
    nothing = torch.empty(1, 0)
    draws = GenerationDraws(torch.tensor([[-0.25]]), none.draw(1), none.draw(1), None, {"r1": nothing, "r2": nothing})
    batch = labeled(images, torch.zeros(1, dtype=torch.long))
    loss, shown = task.loss(UPDATES["discriminator"], batch, draws, StepWeights(penalty=0.5, augment_p=0.0))
    real, fake = (scale * 0.5 * n) ** 2, (scale * 0.25 * n) ** 2
    norms = [n * (2 * scale**2 * total) ** 2 for total in (0.5 * n, -0.25 * n)]
    expected = math.log1p(math.exp(-(real - fake))) + 3 / 2 * norms[0] + 5 / 2 * norms[1]
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    signals = task.signals(UPDATES["discriminator"], shown)
    assert signals["loss_discriminator"].item() == pytest.approx(math.log1p(math.exp(-(real - fake))), rel=1e-5)
    assert signals["real_accuracy"] == signals["fake_accuracy"] == signals["ada_signal"] == signals["auc_real_fake"] == 1
    assert signals["realism"].item() == pytest.approx(1 / (1 + math.exp((real - fake) / 2)), rel=1e-5)


def test_painted_images_are_float32_under_autocast() -> None:
    """In bfloat16 the augmentation would move generated images otherwise than real ones."""
    task = generation()
    none = augment.policy("none")
    draws = GenerationDraws(torch.randn(4, task.generator.latent_dim), none.draw(4), none.draw(4))
    with torch.autocast("cpu", torch.bfloat16):
        assert task._generator_pass(draws.latents, None).dtype == torch.bfloat16
        assert task._generate(draws.latents, None, None).dtype == torch.float32


def test_more_frozen_stages_than_there_are_is_refused() -> None:
    chosen = settings.load(PARAMS, ["finetune.freeze_discriminator=99"])
    with pytest.raises(SettingsError, match=r"freeze_discriminator is 99, but the discriminator has \d stages"):
        Generation(chosen.model, chosen.trainings["finetune"], ImageShape(28, 1, 10))


@pytest.mark.parametrize("objective", ["relativistic", "wasserstein"])
def test_a_constant_for_each_label_changes_no_signal(objective: str) -> None:
    """These discriminators are free to add one, which makes logits of different labels incomparable."""
    task = generation(f"train.objective={objective}", "train.regularizers={gradient_penalty: 10.0}")
    real, fake = torch.randn(2, 64, dtype=torch.float64)
    constant = 100.0 * torch.randint(0, 3, (64,))
    plain = task.signals(UPDATES["discriminator"], {"real_logits": real, "fake_logits": fake})
    moved = task.signals(UPDATES["discriminator"], {"real_logits": real + constant, "fake_logits": fake + constant})
    for name, value in plain.items():
        assert moved[name].item() == pytest.approx(value.item(), abs=1e-9), name
    assert plain["auc_real_fake"].item() == pytest.approx((real > fake).double().mean().item())
