"""Image generation: a generator against a discriminator, with or without class labels.

A task is what the training loop knows: players by name in the order in which they move, one loss for each, the randomness of
a move, and which player's moving average is the product. The loop knows no architecture and no objective.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from atelier import augment, objectives
from atelier.networks import zoo
from atelier.networks.layers import ImageShape
from atelier.settings import FinetuneSettings, ModelSettings, SettingsError, TrainSettings
from atelier.tasks.sight import Sight


@dataclass(frozen=True)
class Batch:
    """Real images [N,C,H,W] in [-1, 1] and labels int64 [N] (zeros when the data have none)."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Draws:
    """The randomness of one move for a whole batch, drawn on the CPU so that every device and rank sees the same numbers."""

    latents: Tensor
    real: augment.Draws
    fake: augment.Draws

    def __getitem__(self, part: slice) -> Draws:
        return Draws(*(getattr(self, field.name)[part] for field in fields(self)))


@dataclass(frozen=True)
class Pressure:
    """What schedules and controllers set for one step: penalty weights gamma and the augmentation probability."""

    r1: float
    r2: float
    augment_p: float


class Generation:
    """Networks and losses of image generation. Networks are initialised from torch's global RNG."""

    averaged = "generator"

    def __init__(self, model: ModelSettings, train: TrainSettings, shape: ImageShape) -> None:
        self.train = train
        self.frozen = train.freeze_discriminator if isinstance(train, FinetuneSettings) else 0
        self.shape = shape
        self.generator, self.discriminator = zoo.build(model, shape)
        if self.frozen > (stages := len(self.discriminator.stages())):
            raise SettingsError(f"finetune.freeze_discriminator is {self.frozen}, but the discriminator has {stages} stages")
        self.players: dict[str, nn.Module] = {"discriminator": self.discriminator, "generator": self.generator}
        self._paint: Callable[..., Tensor] = torch.compile(self.generator) if train.compile else self.generator
        self._see: Callable[..., Tensor] = torch.compile(self.discriminator) if train.compile else self.discriminator

    def hold_all_but(self, player: str) -> None:
        """Lets only the moving player's parameters take gradients; frozen stages of the discriminator never do."""
        for name, network in self.players.items():
            network.requires_grad_(name == player)
        for stage in self.discriminator.stages()[: self.frozen]:
            stage.requires_grad_(False)

    def draw(self, count: int) -> Draws:
        """Latents and augmentation of a move, from torch's global CPU generator."""
        policy = augment.POLICIES[self.train.augment]
        return Draws(torch.randn(count, self.generator.latent_dim), policy.draw(count), policy.draw(count))

    def sight(self, real: Batch) -> Sight:
        """A fixed batch by which the averaged player is watched, beside real images."""
        return Sight(self.generator, self.train.seed, real.images, real.labels if self.shape.classes else None)

    def loss(self, player: str, batch: Batch, draws: Draws, pressure: Pressure) -> tuple[Tensor, dict[str, Tensor]]:
        """The player's loss (a scalar), and what `signals` reads of it, detached: losses [] and D's logits [N]."""
        return getattr(self, f"_{player}_loss")(batch, draws, pressure)

    def _discriminator_loss(self, batch: Batch, draws: Draws, at: Pressure) -> tuple[Tensor, dict[str, Tensor]]:
        real = batch.images.requires_grad_(at.r1 > 0)
        with torch.no_grad():
            fake = self._generate(batch.labels, draws)
        fake = fake.detach().requires_grad_(at.r2 > 0)
        real_logits = self._judge(real, batch.labels, draws.real, at, penalised=at.r1 > 0)
        fake_logits = self._judge(fake, batch.labels, draws.fake, at, penalised=at.r2 > 0)
        adversarial = objectives.discriminator_loss(self.train.objective, real_logits, fake_logits)
        loss = adversarial
        if at.r1 > 0:
            loss = loss + at.r1 / 2 * objectives.gradient_penalty(real_logits, real).mean()
        if at.r2 > 0:
            loss = loss + at.r2 / 2 * objectives.gradient_penalty(fake_logits, fake).mean()
        shown = {"loss_discriminator": adversarial, "real_logits": real_logits, "fake_logits": fake_logits}
        return loss, {name: value.detach() for name, value in shown.items()}

    def _generator_loss(self, batch: Batch, draws: Draws, at: Pressure) -> tuple[Tensor, dict[str, Tensor]]:
        fake_logits = self._judge(self._generate(batch.labels, draws), batch.labels, draws.fake, at)
        real_logits = None
        if objectives.needs_real(self.train.objective):
            with torch.no_grad():
                real_logits = self._judge(batch.images, batch.labels, draws.real, at)
        loss = objectives.generator_loss(self.train.objective, real_logits, fake_logits)
        return loss, {"loss_generator": loss.detach()}

    def _generate(self, labels: Tensor, draws: Draws) -> Tensor:
        latents = draws.latents.to(labels.device, non_blocking=True)
        # float32 like real images: in bfloat16 the augmentation would treat the two differently
        return self._paint(latents, labels if self.shape.classes else None).float()

    def _judge(self, images: Tensor, labels: Tensor, draws: augment.Draws, at: Pressure, penalised: bool = False) -> Tensor:
        """Logits of what the augmentation leaves; compiled code cannot be differentiated twice, so `penalised` runs as it is."""
        seen = augment.POLICIES[self.train.augment].apply(images, draws, at.augment_p)
        network = self.discriminator if penalised else self._see
        return network(seen, labels if self.shape.classes else None).float()

    def signals(self, shown: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scalars of a player's whole move, from what `loss` showed of its parts on all ranks, each [n].

        Mean losses and, for D, accuracy on each side, how real the fakes look, and ADA's r_t (Karras et al. 2020, eq. 1). A
        relativistic critic is only defined up to a constant, so its logits are read against the middle of the two means.
        """
        losses = {name: values.mean() for name, values in shown.items() if name.startswith("loss")}
        if "real_logits" not in shown:
            return losses
        real, fake = shown["real_logits"], shown["fake_logits"]
        middle = (real.mean() + fake.mean()) / 2 if self.train.objective == "relativistic" else torch.zeros_like(real[0])
        return losses | {
            "real_accuracy": (real > middle).float().mean(),
            "fake_accuracy": (fake < middle).float().mean(),
            "realism": torch.sigmoid(fake - middle).mean(),
            "ada_signal": torch.sign(real - middle).mean(),
        }
