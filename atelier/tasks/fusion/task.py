"""Images of noise, text and sound, each of which may be missing: deep fusion against a discriminator that knows mismatches.

Tao et al. 2022 (DF-GAN): real images with texts of others count as fake, too, so that the discriminator has to read. The sound
encoder learns by contrast to say what the text of its record says; what the generator makes of a sound is judged by that text.
Where a text names one image, what is made of it may be held to that image, too (Isola et al. 2017, equation 4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from atelier.config.data import IMAGE
from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError
from atelier.config.training import TrainSettings
from atelier.data.packed import PackedDataset
from atelier.losses import augment
from atelier.losses.adversarial import OBJECTIVES
from atelier.losses.fusion import alike, contrast, divergence, matching_aware, moved
from atelier.losses.reconstruction import l1
from atelier.networks import zoo
from atelier.networks.base import Network
from atelier.networks.fusion import AUDIO, NOISE, TEXT, FusionDiscriminator, FusionGenerator, inputs_of, present
from atelier.networks.inputs import Noise, Sound, Takes, Text
from atelier.networks.layers import ImageShape, wide
from atelier.networks.modes import differentiated_twice
from atelier.tasks.adversarial import AdversarialTask, clip, freeze, prepare
from atelier.tasks.alone import check_alone
from atelier.tasks.base import Batch, Examples, Logged, Loss, Product, StepWeights, Update
from atelier.tasks.compiling import compiled
from atelier.tasks.fusion.fields import FIELDS
from atelier.tasks.fusion.probe import FusionProbe
from atelier.tasks.fusion.sampler import FusionSampler
from atelier.tasks.fusion.settings import Settings
from atelier.tasks.patch_adversarial import NamedDraws

SET, GENERATOR, DISCRIMINATOR = "data", "generator", "discriminator"


class Fusion(AdversarialTask):
    """The discriminator is updated first; the average of the generator, sound encoder included, is the product."""

    products = (Product(GENERATOR, GENERATOR, imitates=SET),)
    sampling = FusionSampler
    normalized = True  # mismatches and contrast are with the others of a micro-batch

    @classmethod
    def build(cls, model: ModelSettings, train: TrainSettings, data: Mapping[str, PackedDataset]) -> Self:
        (images,) = data.values()
        if images.fields.keys() - {*FIELDS.values()} != {IMAGE} or FIELDS[TEXT] not in images.fields:
            raise SettingsError(
                f"{images.folder}: its records have {', '.join(images.fields)}, and task fusion learns from {IMAGE}, "
                f"{' and maybe '.join(FIELDS.values())}; pack a source that has these"
            )
        task = cls(model, train, ImageShape(images.resolution, images.channels, 0), takes_of(model.latent_dim or 0, images))
        if task.generator.whitening is not None:
            task.generator.whitening.fit(torch.from_numpy(images.entries(FIELDS[TEXT])))
        return task

    def __init__(self, model: ModelSettings, train: TrainSettings, shape: ImageShape, takes: Takes) -> None:
        super().__init__()
        self.train = train
        self.own: Settings = train.of_task("fusion")
        if unfit := [one.key for one in train.regularizers.chosen()]:
            raise SettingsError(
                f"regularizers: {', '.join(unfit)} knows of no text; take it out (task fusion has train.fusion.matching_penalty)"
            )
        generator, discriminator = zoo.fusing(model, shape, takes)
        assert isinstance(generator, FusionGenerator) and isinstance(discriminator, FusionDiscriminator)
        self.generator, self.discriminator = generator, discriminator
        self.networks: dict[str, Network] = {GENERATOR: self.generator}
        self.updates: tuple[Update, ...] = (Update(GENERATOR, (GENERATOR,), "generator"),)
        if self.own.adversarial:
            self.networks = {DISCRIMINATOR: self.discriminator} | self.networks
            self.updates = (Update(DISCRIMINATOR, (DISCRIMINATOR,), "discriminator"), *self.updates)
        else:
            check_alone(train, "fusion.adversarial is 0, so that there is no discriminator", ", or adversarial above 0")
        prepare(self.networks.values(), train)
        self.objective = OBJECTIVES[train.objective]
        self.policy = augment.policy(train.augment, train.augment_policy)
        self._generate: Callable[..., Tensor] = (
            compiled(self.generator.synthesize) if train.compile else self.generator.synthesize
        )

    @property
    def undecided(self) -> float:  # type: ignore[override]
        return super().undecided if self.own.adversarial else 0.0

    def activate(self, update: Update) -> None:
        super().activate(update)
        freeze(self.networks.values(), self.train)

    def draw(self, update: Update, count: int) -> NamedDraws:
        """Latents [N, noise], variation of the texts' codes [N, code], and uniform numbers.

        Those are [N, inputs] for what is missing and [N, 2] for how sounds are moved. Of further latents [N, nearest_of, noise]
        one may take a record's place.
        """
        noise = self.generator.takes[NOISE]
        assert isinstance(noise, Noise)
        return NamedDraws(
            {
                "latents": torch.randn(count, noise.size),
                "variation": torch.randn(count, self.generator.settings.code),
                "missing": torch.rand(count, len(self.generator.told)),
                "moved": torch.rand(count, 2),
                "further": torch.randn(count, self.own.nearest_of, noise.size),
                "real": self.policy.draw(count),
                "fake": self.policy.draw(count),
            }
        )

    def probe(self, examples: Examples) -> FusionProbe:
        return FusionProbe(self.generator, self.train.seed, examples)

    def loss(self, update: Update, batch: Batch, draws: NamedDraws, weights: StepWeights) -> Loss:
        of_role = self._discriminator_loss if update.role == "discriminator" else self._generator_loss
        return of_role(batch, self._there(batch, draws), draws, weights)

    def after(self, update: Update, logged: Logged) -> None:
        """Clipping (Arjovsky et al. 2017, algorithm 1)."""
        clip([self.networks[name] for name in update.networks if update.role == "discriminator"], self.train.clip)

    def _there(self, batch: Batch, draws: NamedDraws) -> dict[str, Tensor]:
        """Whether the records' text and sound are told, bool [N, 1] by input's name."""
        kept = (draws.parts["missing"] >= self.own.missing).to(batch[IMAGE].device)
        return {name: kept[:, place, None] & present(batch[FIELDS[name]]) for place, name in enumerate(self.generator.told)}

    def _said(self, batch: Batch, draws: NamedDraws) -> dict[str, Tensor]:
        """What texts and sounds say, [N, size] by input's name."""
        said = {TEXT: self.generator.read(batch[FIELDS[TEXT]])}
        if self.generator.sound_encoder is not None:
            said[AUDIO] = self.generator.sound_encoder(moved(batch[FIELDS[AUDIO]], draws.parts["moved"]))
        return said

    def _told(self, batch: Batch, there: Mapping[str, Tensor]) -> Tensor:
        """The texts [N, size] by which images are judged, as the generator reads them; zeros where nothing was told."""
        return self.generator.read(batch[FIELDS[TEXT]]) * torch.cat([*there.values()], dim=1).any(dim=1, keepdim=True)

    def _code(self, latents: Tensor, said: Mapping[str, Tensor], there: Mapping[str, Tensor], draws: NamedDraws) -> Tensor:
        latents, variation = (one.to(said[TEXT].device, non_blocking=True) for one in (latents, draws.parts["variation"]))
        return self.generator.fused(latents, said, there, variation=variation if self.own.augmentation > 0 else None)

    @torch.no_grad()
    def _latents(self, images: Tensor, told: Tensor, draws: NamedDraws) -> Tensor:
        """The latents [N, noise]; where nothing is told [N, 1], of several those whose image is nearest (Li and Malik 2018)."""
        drawn = draws.parts["latents"].to(images.device, non_blocking=True)
        rows = (~told[:, 0]).nonzero()[:, 0]
        if not (self.own.nearest_of and len(rows)):
            return drawn
        further = draws.parts["further"].to(images.device, non_blocking=True)[rows]
        made = wide(self.generator(further.flatten(0, 1))).unflatten(0, further.shape[:2])
        nearest = (made - images[rows, None]).abs().mean(dim=(2, 3, 4)).argmin(dim=1)
        return drawn.index_copy(0, rows, further[torch.arange(len(rows), device=rows.device), nearest])

    def _discriminator_loss(self, batch: Batch, there: dict[str, Tensor], draws: NamedDraws, at: StepWeights) -> Loss:
        with torch.no_grad():
            fake = wide(self._generate(self._code(draws.parts["latents"], self._said(batch, draws), there, draws)))
        text, penalized = self._told(batch, there), at.penalty > 0 and self.own.matching_penalty > 0
        real = self.policy.apply(batch[IMAGE], draws.parts["real"], at.augment_p).requires_grad_(penalized)
        text.requires_grad_(penalized)
        with differentiated_twice() if penalized else nullcontext():
            features = self.discriminator.features(real)
            real_logits = wide(self.discriminator.judge(features, text).logits)
        fake_logits = self._judged(fake, text.detach(), draws.parts["fake"], at)
        wrong, mismatched = self._mismatched(batch, text.detach())
        wrong_logits = wide(self.discriminator.judge(features, wrong).logits)[mismatched]
        adversarial = self.objective.discriminator(real_logits, fake_logits)
        if len(wrong_logits):
            apart = self.objective.discriminator(real_logits[mismatched], wrong_logits)
            adversarial = (adversarial + apart) / 2
        logged = {
            "loss_discriminator": adversarial.detach(),
            "real_logits": real_logits.detach(),
            "fake_logits": fake_logits.detach(),
        }
        total = adversarial
        if penalized:
            steepness = matching_aware(real_logits, real, text)
            logged["matching_penalty"] = steepness.detach()
            total = total + at.penalty * self.own.matching_penalty * steepness.mean()
        return Loss(total, logged)

    def _generator_loss(self, batch: Batch, there: dict[str, Tensor], draws: NamedDraws, at: StepWeights) -> Loss:
        text, said = self._told(batch, there), self._said(batch, draws)
        told = present(text)
        fake = wide(self._generate(self._code(self._latents(batch[IMAGE], told, draws), said, there, draws)))
        logged, weighted = {}, []
        if self.own.adversarial > 0:
            fake_logits, real_logits = self._judged(fake, text, draws.parts["fake"], at), None
            if self.objective.compares:
                with torch.no_grad():
                    real_logits = self._judged(batch[IMAGE], text, draws.parts["real"], at)
            logged["loss_generator"] = self.objective.generator(real_logits, fake_logits)
            weighted.append(self.own.adversarial * logged["loss_generator"])
        if self.own.augmentation > 0:
            spread = divergence(*self.generator.text_moments(said[TEXT]))
            logged["code_divergence"] = spread
            weighted.append(self.own.augmentation * spread.mean())
        if self.own.reconstruction > 0:
            held = torch.ones_like(told) if self.own.nearest_of else told
            logged["reconstruction"] = l1(fake, batch[IMAGE], held[:, :, None, None].to(fake.dtype))
            weighted.append(self.own.reconstruction * logged["reconstruction"])
        if AUDIO in said:
            heard, texts = said[AUDIO], said[TEXT]
            same = alike(batch[FIELDS[TEXT]], batch.get("label"))
            apart = contrast(heard, texts, same, self.own.temperature)
            gap = 1 - F.cosine_similarity(wide(heard), texts, dim=1)
            logged |= {"sound_contrast": apart, "sound_gap": gap}
            weighted.append(self.own.contrast * (apart + gap.mean()))
        return Loss(torch.stack(weighted).sum(), {name: value.detach() for name, value in logged.items()})

    def _mismatched(self, batch: Batch, text: Tensor) -> tuple[Tensor, Tensor]:
        """The text [N, size] of each record's neighbor, and whether it is wrong, bool [N]: it says something else."""
        wrong = text.roll(1, dims=0)
        same = alike(batch[FIELDS[TEXT]], batch.get("label")).roll(1, dims=1).diagonal()
        return wrong, present(wrong)[:, 0] & present(text)[:, 0] & ~same

    def _judged(self, images: Tensor, text: Tensor, draws: augment.Draws, at: StepWeights) -> Tensor:
        """The logits [N] of augmented images with their texts."""
        return wide(self.discriminator(self.policy.apply(images, draws, at.augment_p), text).logits)


def takes_of(noise: int, images: PackedDataset) -> Takes:
    """What a generator of these records takes, beside so many numbers of noise."""
    tables = {kind: images.fields[field].table for kind, field in FIELDS.items() if field in images.fields}
    text, heard = tables[TEXT], tables.get(AUDIO)
    assert text, "the manifest makes sure of"
    (size,) = text.shape
    sound = None if heard is None else Sound(bands=heard.shape[0], frames=heard.shape[1])
    return inputs_of(noise, Text(size=size, encoder=text.encoder, weights=text.weights), sound)


TASK = Fusion
