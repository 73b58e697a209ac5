"""Image generation: a generator against a discriminator, with or without class labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError
from atelier.config.training import TrainSettings
from atelier.data.packed import PackedDataset
from atelier.losses import augment
from atelier.losses.adversarial import OBJECTIVES
from atelier.losses.regularizers import LossContext, Regularizer, chosen
from atelier.networks import zoo
from atelier.networks.base import DiscriminatorOutput, Network
from atelier.networks.layers import BatchNorm, ImageShape
from atelier.networks.modes import differentiated_twice
from atelier.tasks.adversarial import AdversarialTask, clip, freeze, prepare
from atelier.tasks.base import Batch, Examples, Logged, Loss, Product, RecordLosses, StepWeights, Update
from atelier.tasks.compiling import compiled
from atelier.tasks.generation.probe import GenerationProbe

SET = "data"


@dataclass(frozen=True)
class GenerationDraws:
    """The randomness of an update: latents [N, latent_dim], and the augmentation of real and of generated images.

    `noise` [N, generator.noise_dim] varies an image beside its latent, `real_noise` and `fake_noise` [N, discriminator.noise_dim]
    perturb what the discriminator sees; they are None where nothing does. `regularizers` holds the draws of regularizers by their
    keys.
    """

    latents: Tensor
    real: augment.Draws
    fake: augment.Draws
    noise: Tensor | None = None
    regularizers: dict[str, Tensor] = field(default_factory=dict)
    real_noise: Tensor | None = None
    fake_noise: Tensor | None = None

    def __getitem__(self, part: slice) -> GenerationDraws:
        noises = (None if one is None else one[part] for one in (self.noise, self.real_noise, self.fake_noise))
        noise, real_noise, fake_noise = noises
        regularizers = {key: drawn[part] for key, drawn in self.regularizers.items()}
        return GenerationDraws(self.latents[part], self.real[part], self.fake[part], noise, regularizers, real_noise, fake_noise)


class Generation(AdversarialTask):
    """The discriminator is updated first; the average of the generator is the product."""

    updates = (
        Update("discriminator", ("discriminator",), "discriminator"),
        Update("generator", ("generator",), "generator"),
    )
    products = (Product("generator", "generator", imitates=SET),)

    @classmethod
    def build(cls, model: ModelSettings, train: TrainSettings, data: Mapping[str, PackedDataset]) -> Self:
        (images,) = data.values()
        return cls(model, train, ImageShape(images.resolution, images.channels, len(images.classes) if model.conditional else 0))

    def __init__(self, model: ModelSettings, train: TrainSettings, shape: ImageShape) -> None:
        super().__init__()
        self.train = train
        self.shape = shape
        self.generator, self.discriminator = zoo.build(model, shape)
        self._compares_records = self.discriminator.group > 1 or any(
            isinstance(part, BatchNorm) for part in self.discriminator.modules()
        )
        self.normalized = model.family.normalized or train.averages
        self.networks: dict[str, Network] = {"discriminator": self.discriminator, "generator": self.generator}
        prepare(self.networks.values(), train)
        self.objective = OBJECTIVES[train.objective]
        self.regularizers = chosen(train)
        self._generator_pass: Callable[..., Tensor] = compiled(self.generator.drafts) if train.compile else self.generator.drafts
        self._discriminator_pass: Callable[..., DiscriminatorOutput] = (
            compiled(self.discriminator) if train.compile else self.discriminator
        )

    def check_share(self, count: int) -> None:
        """Raises SettingsError if a rank's share of a micro-batch does not suit the discriminator."""
        if count % (group := self.discriminator.group):
            raise SettingsError(
                f"a rank sees {count} images at once, but the discriminator compares groups of {group} with one another; choose "
                "a batch that leaves each rank a multiple of it, or a smaller group"
            )

    def activate(self, update: Update) -> None:
        super().activate(update)
        freeze(self.networks.values(), self.train)

    def draw(self, update: Update, count: int) -> GenerationDraws:
        policy = augment.policy(self.train.augment, self.train.augment_policy)
        latents, real, fake = torch.randn(count, self.generator.latent_dim), policy.draw(count), policy.draw(count)
        sizes = self.generator.noise_dim, *[self.discriminator.noise_dim] * 2
        noise, real_noise, fake_noise = (torch.randn(count, size) if size else None for size in sizes)
        drawn = {one.key: one.draw(count, self.generator) for one in self.regularizers if update.role in one.roles}
        return GenerationDraws(latents, real, fake, noise, drawn, real_noise, fake_noise)

    def probe(self, examples: Examples) -> GenerationProbe:
        return GenerationProbe(self.generator, self.discriminator, self.train.seed, examples)

    def loss(self, update: Update, batch: Batch, draws: GenerationDraws, weights: StepWeights) -> Loss:
        labels = batch["label"] if self.shape.classes else None
        of_role = self._discriminator_loss if update.role == "discriminator" else self._generator_loss
        return of_role(batch["image"], labels, draws, weights)

    def record_losses(self, update: Update, batch: Batch, draws: GenerationDraws, weights: StepWeights) -> RecordLosses:
        """The discriminator's: of each real image beside the generated one of its label. Raises SettingsError."""
        assert update.role == "discriminator"
        if self._compares_records:
            raise SettingsError(
                "privacy needs a discriminator that judges each image by itself, and this one compares the images of a batch; "
                "set batch_norm: false where the family has it, or choose another family"
            )
        labels = batch["label"] if self.shape.classes else None
        with torch.no_grad():
            fake = self._generate(draws.latents, labels, draws.noise)
            inputs = {
                "real": self._augmented(self.generator.fade_real(batch["image"]), draws.real, weights.augment_p),
                "fake": self._augmented(fake, draws.fake, weights.augment_p),
            }
        noises = {"real_noise": draws.real_noise, "fake_noise": draws.fake_noise}
        inputs |= {name: noise.to(fake.device) for name, noise in noises.items() if noise is not None}
        self.discriminator.power_iteration()

        def loss(judge: Callable[..., DiscriminatorOutput], one: dict[str, Tensor]) -> tuple[Tensor, Logged]:
            perturbing = {side: [one[f"{side}_noise"]] if f"{side}_noise" in one else [] for side in ("real", "fake")}
            real, fake = (judge(one[side], one.get("label"), *drawn) for side, drawn in perturbing.items())
            adversarial = self.objective.discriminator(real.logits.float(), fake.logits.float())
            overall = {"real_logits": real.overall.float(), "fake_logits": fake.overall.float()}
            return adversarial, {"loss_discriminator": adversarial, **overall}

        return RecordLosses(self.discriminator, inputs | ({} if labels is None else {"label": labels}), loss)

    def after(self, update: Update, logged: Logged) -> None:
        """Running means of the regularizers; clipping (Arjovsky et al. 2017, algorithm 1)."""
        for regularizer in self.regularizers:
            if update.role in regularizer.roles:
                regularizer.remember(self.memory, logged)
        clip([self.networks[name] for name in update.networks if update.role == "discriminator"], self.train.clip)

    def _discriminator_loss(self, images: Tensor, labels: Tensor | None, draws: GenerationDraws, at: StepWeights) -> Loss:
        regularizers = self._due("discriminator", at)
        real = self.generator.fade_real(images).requires_grad_(any(one.by_real for one in regularizers))
        with torch.no_grad():
            fake = self._generate(draws.latents, labels, draws.noise)
        fake = fake.detach().requires_grad_(any(one.by_fake for one in regularizers))
        real_output = self._judge_real(real, labels, draws, at, penalized=real.requires_grad)
        fake_output = self._judge_fake(fake, labels, draws, at, penalized=fake.requires_grad)
        adversarial = self.objective.discriminator(real_output.logits, fake_output.logits)
        logged = {
            "loss_discriminator": adversarial.detach(),
            "real_logits": real_output.overall.detach(),
            "fake_logits": fake_output.overall.detach(),
        }
        context = self._context(labels, draws, at, real, fake, fake_output, logged, real_output)
        return Loss(self._regularized(adversarial, regularizers, draws, context), logged)

    def _generator_loss(self, images: Tensor, labels: Tensor | None, draws: GenerationDraws, at: StepWeights) -> Loss:
        regularizers = self._due("generator", at)
        fake = self._generate(draws.latents, labels, draws.noise)
        fake_output = self._judge_fake(fake, labels, draws, at)
        real, real_logits = self.generator.fade_real(images), None
        if self.objective.compares:
            with torch.no_grad():
                real_logits = self._judge_real(real, labels, draws, at).logits
        adversarial = self.objective.generator(real_logits, fake_output.logits)
        logged = {"loss_generator": adversarial.detach()}
        context = self._context(labels, draws, at, real, fake, fake_output, logged)
        return Loss(self._regularized(adversarial, regularizers, draws, context), logged)

    def _due(self, role: str, at: StepWeights) -> list[Regularizer]:
        return [one for one in self.regularizers if role in one.roles and (at.penalty > 0 or not one.lazy)]

    def _context(
        self,
        labels: Tensor | None,
        draws: GenerationDraws,
        at: StepWeights,
        real: Tensor,
        fake: Tensor,
        fake_output: DiscriminatorOutput,
        logged: Logged,
        real_output: DiscriminatorOutput | None = None,
    ) -> LossContext:
        return LossContext(
            generator=self.generator,
            labels=labels,
            latents=draws.latents.to(fake.device, non_blocking=True),
            noise=None if draws.noise is None else draws.noise.to(fake.device, non_blocking=True),
            real=real,
            fake=fake,
            real_output=real_output,
            fake_output=fake_output,
            generate=lambda latents: self._generate(latents, labels, draws.noise),
            discriminate=lambda images: self._judge_fake(images, labels, draws, at, penalized=images.requires_grad),
            discriminate_real=lambda images: self._judge_real(images, labels, draws, at),
            discriminate_fake=lambda images: self._judge_fake(images, labels, draws, at),
            penalty=at.penalty,
            memory=self.memory,
            logged=logged,
        )

    def _regularized(
        self, adversarial: Tensor, regularizers: list[Regularizer], draws: GenerationDraws, context: LossContext
    ) -> Tensor:
        loss = adversarial
        for regularizer in regularizers:
            drawn = draws.regularizers[regularizer.key].to(adversarial.device, non_blocking=True)
            loss = loss + regularizer.loss(context, drawn)
        return loss

    def _generate(self, latents: Tensor, labels: Tensor | None, noise: Tensor | None) -> Tensor:
        device = next(self.generator.parameters()).device
        latents = latents.to(device, non_blocking=True)
        noise = None if noise is None else noise.to(device, non_blocking=True)
        self.generator.power_iteration()
        # float32 like real images: in bfloat16 the augmentation would treat the two differently
        return self._generator_pass(latents, labels, noise).float()

    def _judge_real(
        self, images: Tensor, labels: Tensor | None, draws: GenerationDraws, at: StepWeights, penalized: bool = False
    ) -> DiscriminatorOutput:
        return self._discriminate(images, labels, draws.real, draws.real_noise, at, penalized)

    def _judge_fake(
        self, images: Tensor, labels: Tensor | None, draws: GenerationDraws, at: StepWeights, penalized: bool = False
    ) -> DiscriminatorOutput:
        return self._discriminate(images, labels, draws.fake, draws.fake_noise, at, penalized)

    def _discriminate(
        self,
        images: Tensor,
        labels: Tensor | None,
        draws: augment.Draws,
        noise: Tensor | None,
        at: StepWeights,
        penalized: bool,
    ) -> DiscriminatorOutput:
        """The output for augmented images; `penalized`: uncompiled, since compiled code cannot be differentiated twice."""
        augmented = self._augmented(images, draws, at.augment_p)
        perturbing = () if noise is None else (noise.to(images.device, non_blocking=True),)
        self.discriminator.power_iteration()
        if penalized:
            with differentiated_twice():
                output = self.discriminator(augmented, labels, *perturbing)
        else:
            output = self._discriminator_pass(augmented, labels, *perturbing)
        return DiscriminatorOutput(output.logits.float(), None if output.classes is None else output.classes.float())

    def _augmented(self, images: Tensor, draws: augment.Draws, p: float) -> Tensor:
        """Images [N, *generator.judged], all that are judged of one augmented alike."""
        policy, levels = augment.policy(self.train.augment, self.train.augment_policy), self.generator.levels
        if levels == 1:
            return policy.apply(images, draws, p)
        each = images.unflatten(1, (levels, -1))
        return policy.apply(each.flatten(0, 1), draws.repeated(levels), p).unflatten(0, each.shape[:2]).flatten(1, 2)


TASK = Generation
