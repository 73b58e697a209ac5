"""Regularizers in the losses of an update: each adds what its equation says of the update's own images, for its role alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from atelier.config import settings
from atelier.extractors import perceptual
from atelier.losses import penalties
from atelier.networks.layers import ImageShape
from atelier.tasks.base import StepWeights
from atelier.tasks.generation.task import Generation, GenerationDraws
from tests.support.small import PARAMS
from tests.support.updates import UPDATES, labeled

N = 6
FULL = StepWeights(penalty=1.0, augment_p=0.0)
STYLES = ["model.architecture=stylegan2", "model.stylegan2.width=4", "model.stylegan2.widest=8", "model.stylegan2.group=2"]


def generation(*overrides: str) -> Generation:
    common = ["model.architecture=mlp", "model.mlp.hidden=[8]", "train.objective=hinge", "train.regularizers={}"]
    chosen = settings.load(PARAMS, [*common, *overrides])
    torch.manual_seed(0)
    return Generation(chosen.model, chosen.train, ImageShape(28, 1, 5))


class UpdateLoss:
    """What a regularizer, set by the last override, adds to a role's loss; and the images that it was added for."""

    def __init__(self, role: str, *overrides: str, at: StepWeights = FULL, memory: dict[str, float] | None = None) -> None:
        self.task, self.at = generation(*overrides), at
        self.task.memory.update(memory or {})
        torch.manual_seed(1)
        self.batch = labeled(torch.rand(N, 1, 28, 28) * 2 - 1, torch.arange(N) % 5)
        self.draws, loss, self.logged = self.loss(self.task, role)
        plain = generation(*overrides[:-1])
        self.added = (loss - self.loss(plain, role)[1]).item()

    def loss(self, task: Generation, role: str) -> tuple[GenerationDraws, Tensor, dict[str, Tensor]]:
        torch.manual_seed(2)
        task.activate(UPDATES[role])
        draws = task.draw(UPDATES[role], N)
        return draws, *task.loss(UPDATES[role], self.batch, draws, self.at)

    @property
    def fake(self) -> Tensor:
        return self.generate(self.draws.latents)

    def generate(self, latents: Tensor) -> Tensor:
        return self.task.generator(latents, self.batch["label"], self.draws.noise)

    def discriminate(self, images: Tensor) -> Tensor:
        return self.task.discriminator(images, self.batch["label"]).overall

    def slope(self, images: Tensor) -> Tensor:
        """Norm of the discriminator's gradient at each image."""
        images = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.discriminate(images).sum(), images)
        return gradient.flatten(1).norm(dim=1)


def test_r1_and_r2_are_on_their_own_side() -> None:
    update = UpdateLoss("discriminator", "train.regularizers.r1=3.0")
    assert update.added == pytest.approx(3 / 2 * update.slope(update.batch["image"]).square().mean().item(), rel=1e-4)
    update = UpdateLoss("discriminator", "train.regularizers.r2=5.0")
    assert update.added == pytest.approx(5 / 2 * update.slope(update.fake).square().mean().item(), rel=1e-4)


def test_approximate_r1_and_r2_are_differences_along_a_step() -> None:
    for key, weight, sigma in (("approximate_r1", 3.0, 0.01), ("approximate_r2", 5.0, 0.3)):
        update = UpdateLoss("discriminator", f"train.regularizers.{key}={{weight: {weight}, sigma: {sigma}}}")
        images = update.batch["image"] if key == "approximate_r1" else update.fake
        moved = update.discriminate(images + sigma * update.draws.regularizers[key])
        expected = weight / 2 * ((moved - update.discriminate(images)) / sigma).square().mean().item()
        assert update.added == pytest.approx(expected, rel=1e-3)


def test_wgan_gp_is_between_and_dragan_near_real_images() -> None:
    update = UpdateLoss("discriminator", "train.regularizers.gradient_penalty=10.0")
    share = update.draws.regularizers["gradient_penalty"][:, None, None, None]
    slope = update.slope(share * update.batch["image"] + (1 - share) * update.fake)
    assert update.added == pytest.approx(10 * (slope - 1).square().mean().item(), rel=1e-4)
    update = UpdateLoss("discriminator", "train.regularizers.dragan=10.0")
    drawn = update.draws.regularizers["dragan"]
    near = penalties.near(update.batch["image"], drawn[:, 1:].view(N, 1, 28, 28), drawn[:, 0])
    assert update.added == pytest.approx(10 * (update.slope(near) - 1).square().mean().item(), rel=1e-4)


def test_zcr_holds_logits_and_spreads_images() -> None:
    update = UpdateLoss("discriminator", "train.regularizers.zcr_discriminator={weight: 5.0, sigma: 0.5}")
    moved = update.generate(update.draws.latents + 0.5 * update.draws.regularizers["zcr_discriminator"])
    difference = update.discriminate(update.fake) - update.discriminate(moved)
    assert update.added == pytest.approx(5 * difference.square().mean().item(), rel=1e-3)
    update = UpdateLoss("generator", "train.regularizers.zcr_generator={weight: 2.0, sigma: 0.5}")
    moved = update.generate(update.draws.latents + 0.5 * update.draws.regularizers["zcr_generator"])
    assert update.added == pytest.approx(-2 * (update.fake - moved).square().mean().item(), rel=1e-3)


def test_lecam_compares_with_what_it_remembers_of_the_other_side() -> None:
    assert UpdateLoss("discriminator", "train.regularizers.lecam=0.3").added == 0  # the first update has nothing to compare with
    update = UpdateLoss("discriminator", "train.regularizers.lecam=0.3", memory={"lecam_real": 0.7, "lecam_fake": -0.4})
    real, fake = update.discriminate(update.batch["image"]), update.discriminate(update.fake)
    expected = 0.3 * ((real + 0.4).square().mean() + (fake - 0.7).square().mean())
    assert update.added == pytest.approx(expected.item(), rel=1e-4)
    update.task.after(UPDATES["discriminator"], update.logged)
    assert update.task.memory["lecam_real"] == pytest.approx(0.99 * 0.7 + 0.01 * real.mean().item(), rel=1e-5)
    assert update.task.memory["lecam_fake"] == pytest.approx(-0.99 * 0.4 + 0.01 * fake.mean().item(), rel=1e-5)


def test_path_lengths_are_compared_with_their_running_mean() -> None:
    update = UpdateLoss("generator", *STYLES, "train.regularizers.path_length=2.0", memory={"path_length": 3.0})
    lengths = update.logged["path_length"]
    assert lengths.shape == (N,)
    assert update.added == pytest.approx(2 * (lengths - 3).square().mean().item(), rel=1e-3)
    update.task.after(UPDATES["generator"], update.logged)
    assert update.task.memory["path_length"] == pytest.approx(0.99 * 3 + 0.01 * lengths.mean().item(), rel=1e-5)


def test_orthogonal_regularization() -> None:
    update = UpdateLoss("generator", "train.regularizers.orthogonal=0.01")
    assert update.added == pytest.approx(0.01 * penalties.orthogonal(update.task.generator).item(), rel=1e-3)


def test_perceptual_loss_compares_with_the_real_images_of_the_batch() -> None:
    update = UpdateLoss("generator", "train.regularizers.perceptual=2.0")
    perceive = perceptual.load_perception("efficientnet_lite0", "packaged", "")
    expected = 2 * perceptual.mean_difference(perceive(update.fake), perceive(update.batch["image"]))
    assert update.added == pytest.approx(expected.item(), rel=1e-3)
    assert sum(p.requires_grad for p in perceive.parameters()) == 0


def test_auxiliary_classifier() -> None:
    """Real and generated images are named in the discriminator's loss. Three times the weight adds twice the errors."""
    common = ["model.conditioning=auxiliary", "train.regularizers.classification=1.0", "finetune.regularizers.classification=1.0"]
    for role in ("discriminator", "generator"):
        update = UpdateLoss(role, *common, "train.regularizers.classification=3.0")
        scores = [update.task.discriminator(images, None).classes for images in (update.fake, update.batch["image"])]
        errors = [cross_entropy(score, update.batch["label"]).item() for score in scores if score is not None]
        assert update.added == pytest.approx(2 * (sum(errors) if role == "discriminator" else errors[0]), rel=1e-4)


@pytest.mark.parametrize("key", ["r1", "r2", "gradient_penalty", "dragan"])
def test_lazy_terms_follow_the_schedule(key: str) -> None:
    whole, half, none = (
        UpdateLoss("discriminator", f"train.regularizers.{key}=2.0", at=StepWeights(w, 0.0)).added for w in (1.0, 0.5, 0.0)
    )
    assert whole == pytest.approx(2 * half, rel=1e-4) and none == 0 < whole


def test_clipping_is_of_the_discriminator_alone() -> None:
    task = generation("train.objective=wasserstein", "train.clip=0.01")
    before = [p.detach().clone() for p in task.generator.parameters()]
    for update in task.updates:
        task.after(update, {})
    assert max(p.abs().max().item() for p in task.discriminator.parameters()) == pytest.approx(0.01)
    assert all(torch.equal(a, b) for a, b in zip(before, task.generator.parameters(), strict=True))


def test_losses_are_summed_in_the_order_of_the_classes() -> None:
    """Whatever order params.yaml has: a sum of floating-point numbers depends on it."""
    task = generation("train.regularizers={zcr_discriminator: 1.0, r2: 1.0, orthogonal: 0.0, r1: 1.0}")
    assert [one.key for one in task.regularizers] == ["r1", "r2", "zcr_discriminator"]


def test_regularizers_that_are_off_draw_nothing() -> None:
    """Else a seed would give other bytes in every version that adds a regularizer."""
    task = generation()
    torch.manual_seed(3)
    off = task.draw(UPDATES["discriminator"], N)
    state = torch.get_rng_state()
    assert off.regularizers == {} and off.noise is None
    torch.manual_seed(3)
    torch.randn(N, task.generator.latent_dim)
    assert torch.equal(torch.get_rng_state(), state)
