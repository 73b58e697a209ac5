"""Image generation: a generator against a discriminator, with or without class labels.

A task is what the training loop knows: players by name in the order in which they move, one loss for each, the randomness of
a move, and which player's moving average is the product. The loop knows no architecture and no objective.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError
from atelier.config.training import FinetuneSettings, TrainSettings
from atelier.losses import augment
from atelier.losses.adversarial import OBJECTIVES
from atelier.losses.regularizers import Memory, Regularizer, Seen, chosen
from atelier.networks import zoo
from atelier.networks.layers import ImageShape, Player, Verdict
from atelier.networks.modes import differentiated_twice
from atelier.tasks.base import Batch, Draws, Pressure
from atelier.tasks.compiling import compiled
from atelier.tasks.generation.mode_coverage import Kinds
from atelier.tasks.generation.probe import Sight


class Generation:
    """Networks and losses of image generation. Networks are initialised from torch's global RNG.

    `memory` are the running means of the regularisers: together with the networks all that a loss depends on.
    """

    averaged = "generator"

    def __init__(self, model: ModelSettings, train: TrainSettings, shape: ImageShape) -> None:
        self.train = train
        self.frozen = train.freeze_discriminator if isinstance(train, FinetuneSettings) else 0
        self.shape = shape
        self.generator, self.discriminator = zoo.build(model, shape)
        self.normalised = model.family.normalised
        if self.frozen > (stages := len(self.discriminator.stages())):
            raise SettingsError(f"finetune.freeze_discriminator is {self.frozen}, but the discriminator has {stages} stages")
        self.players: dict[str, Player] = {"discriminator": self.discriminator, "generator": self.generator}
        for part in (*self.generator.modules(), *self.discriminator.modules()):
            if isinstance(part, Player):
                part.recomputed = train.checkpointing
        self.objective = OBJECTIVES[train.objective]
        self.terms = chosen(train)
        self.memory: Memory = {}
        self._paint: Callable[..., Tensor] = compiled(self.generator) if train.compile else self.generator
        self._see: Callable[..., Verdict] = compiled(self.discriminator) if train.compile else self.discriminator

    def check_share(self, count: int) -> None:
        """Raises SettingsError if a rank's share of a micro-batch does not suit the discriminator."""
        if count % (group := self.discriminator.group):
            raise SettingsError(
                f"a rank sees {count} images at once, but the discriminator compares groups of {group} with one another; choose "
                "a batch that leaves each rank a multiple of it, or a smaller group"
            )

    def hold_all_but(self, player: str) -> None:
        """Lets only the moving player's parameters take gradients; frozen stages of the discriminator never do."""
        for name, network in self.players.items():
            network.requires_grad_(name == player)
        for stage in self.discriminator.stages()[: self.frozen]:
            stage.requires_grad_(False)

    def draw(self, player: str, count: int) -> Draws:
        """The numbers of a player's move, from torch's global CPU generator."""
        policy = augment.POLICIES[self.train.augment]
        latents, real, fake = torch.randn(count, self.generator.latent_dim), policy.draw(count), policy.draw(count)
        chance = torch.randn(count, self.generator.chance) if self.generator.chance else None
        terms = {term.key: term.draw(count, self.generator) for term in self.terms if player in term.players}
        return Draws(latents, real, fake, chance, terms)

    def sight(self, real: Batch, held_out: Batch | None, kinds: Kinds) -> Sight:
        """Fixed images by which the duel is watched: training images and their kinds, and images that are never trained on."""
        return Sight(self.generator, self.discriminator, self.train.seed, real, held_out, kinds)

    @property
    def undecided(self) -> float:
        """The discriminator's loss when it finds all images equally real and says so with logits of 0."""
        return self.objective.discriminator(torch.zeros(1), torch.zeros(1)).item()

    def loss(self, player: str, batch: Batch, draws: Draws, pressure: Pressure) -> tuple[Tensor, dict[str, Tensor]]:
        """The player's loss (a scalar), and what `signals` reads of it, detached: losses [] and D's logits [N]."""
        return getattr(self, f"_{player}_loss")(batch, draws, pressure)

    def finished(self, player: str) -> None:
        """After the player's optimiser has stepped: clipping (Arjovsky et al. 2017, algorithm 1)."""
        if self.train.clip > 0 and player == "discriminator":
            with torch.no_grad():
                for parameter in self.discriminator.parameters():
                    parameter.clamp_(-self.train.clip, self.train.clip)

    def remember(self, player: str, shown: dict[str, Tensor]) -> None:
        """Takes what a player's whole move has shown, on all ranks, into the running means of its regularisers."""
        for term in self.terms:
            if player in term.players:
                term.remember(self.memory, shown)

    def _discriminator_loss(self, batch: Batch, draws: Draws, at: Pressure) -> tuple[Tensor, dict[str, Tensor]]:
        terms, labels = self._due("discriminator", at), self._known(batch.labels)
        real = self.generator.as_painted(batch.images).requires_grad_(any(term.by_real for term in terms))
        with torch.no_grad():
            fake = self._generate(draws.latents, labels, draws.chance)
        fake = fake.detach().requires_grad_(any(term.by_fake for term in terms))
        real_verdict = self._judge(real, labels, draws.real, at, penalised=real.requires_grad)
        fake_verdict = self._judge(fake, labels, draws.fake, at, penalised=fake.requires_grad)
        adversarial = self.objective.discriminator(real_verdict.logits, fake_verdict.logits)
        shown = {
            "loss_discriminator": adversarial.detach(),
            "real_logits": real_verdict.overall.detach(),
            "fake_logits": fake_verdict.overall.detach(),
        }
        seen = self._seen(labels, draws, at, real, fake, fake_verdict, shown, real_verdict)
        return self._regularised(adversarial, terms, draws, seen), shown

    def _generator_loss(self, batch: Batch, draws: Draws, at: Pressure) -> tuple[Tensor, dict[str, Tensor]]:
        terms, labels = self._due("generator", at), self._known(batch.labels)
        fake = self._generate(draws.latents, labels, draws.chance)
        fake_verdict = self._judge(fake, labels, draws.fake, at)
        real, real_logits = self.generator.as_painted(batch.images), None
        if self.objective.compares:
            with torch.no_grad():
                real_logits = self._judge(real, labels, draws.real, at).logits
        adversarial = self.objective.generator(real_logits, fake_verdict.logits)
        shown = {"loss_generator": adversarial.detach()}
        seen = self._seen(labels, draws, at, real, fake, fake_verdict, shown)
        return self._regularised(adversarial, terms, draws, seen), shown

    def _due(self, player: str, at: Pressure) -> list[Regularizer]:
        return [term for term in self.terms if player in term.players and (at.penalty > 0 or not term.lazy)]

    def _seen(
        self,
        labels: Tensor | None,
        draws: Draws,
        at: Pressure,
        real: Tensor,
        fake: Tensor,
        fake_verdict: Verdict,
        shown: dict[str, Tensor],
        real_verdict: Verdict | None = None,
    ) -> Seen:
        return Seen(
            generator=self.generator,
            labels=labels,
            latents=draws.latents.to(fake.device, non_blocking=True),
            chance=None if draws.chance is None else draws.chance.to(fake.device, non_blocking=True),
            real=real,
            fake=fake,
            real_verdict=real_verdict,
            fake_verdict=fake_verdict,
            paint=lambda latents: self._generate(latents, labels, draws.chance),
            judge=lambda images: self._judge(images, labels, draws.fake, at, penalised=images.requires_grad),
            penalty=at.penalty,
            memory=self.memory,
            shown=shown,
        )

    def _regularised(self, adversarial: Tensor, terms: list[Regularizer], draws: Draws, seen: Seen) -> Tensor:
        loss = adversarial
        for term in terms:
            loss = loss + term.loss(seen, draws.terms[term.key].to(adversarial.device, non_blocking=True))
        return loss

    def _known(self, labels: Tensor) -> Tensor | None:
        """The labels as the networks take them."""
        return labels if self.shape.classes else None

    def _generate(self, latents: Tensor, labels: Tensor | None, chance: Tensor | None) -> Tensor:
        device = next(self.generator.parameters()).device
        latents = latents.to(device, non_blocking=True)
        chance = None if chance is None else chance.to(device, non_blocking=True)
        self.generator.renew()
        # float32 like real images: in bfloat16 the augmentation would treat the two differently
        return self._paint(latents, labels, chance).float()

    def _judge(
        self, images: Tensor, labels: Tensor | None, draws: augment.Draws, at: Pressure, penalised: bool = False
    ) -> Verdict:
        """D's verdict on what the augmentation leaves; `penalised` is not compiled, which could not be differentiated twice."""
        seen = augment.POLICIES[self.train.augment].apply(images, draws, at.augment_p)
        self.discriminator.renew()
        if penalised:
            with differentiated_twice():
                verdict = self.discriminator(seen, labels)
        else:
            verdict = self._see(seen, labels)
        return Verdict(verdict.logits.float(), None if verdict.classes is None else verdict.classes.float())

    def signals(self, shown: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scalars of a player's whole move, from what `loss` showed of its parts on all ranks, each [n].

        Mean losses and, for D, how often it is right on each side and in pairs of a real and a generated image of one label, how
        real the fakes look, and ADA's r_t (Karras et al. 2020, eq. 1). A critic that is only defined up to a constant, be it one
        for each label, is read against the middle of each pair.
        """
        means = {name: values.mean() for name, values in shown.items() if not name.endswith("_logits")}
        if "real_logits" not in shown:
            return means
        real, fake = shown["real_logits"], shown["fake_logits"]
        middle = (real + fake) / 2 if self.objective.shift_invariant else torch.zeros_like(real)
        return means | {
            "real_accuracy": (real > middle).float().mean(),
            "fake_accuracy": (fake < middle).float().mean(),
            "separation": (torch.sign(real - fake).mean() + 1) / 2,
            "realism": torch.sigmoid(fake - middle).mean(),
            "ada_signal": torch.sign(real - middle).mean(),
        }
