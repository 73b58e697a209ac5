"""Pictures from label maps by a discriminator that tells the class of each pixel: OASIS (Sushko et al. 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atelier.config.data import TARGET
from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError
from atelier.config.training import TrainSettings
from atelier.losses import segmentation
from atelier.networks import zoo
from atelier.networks.base import PatchOutput
from atelier.networks.inputs import LabelMap, Takes
from atelier.networks.layers import ImageShape
from atelier.tasks.base import Batch, Loss, StepWeights, Update
from atelier.tasks.pairs import DISCRIMINATOR, GENERATOR, PairsTask
from atelier.tasks.patch_adversarial import NamedDraws, Shared
from atelier.tasks.records import INPUT

OBJECTIVE = "nonsaturating"  # of one class, cross-entropy is this one


class Semantic(PairsTask):
    """The discriminator sees images alone, and has to tell each pixel's class from that of generated ones.

    In its own update images are made anew, of the maps of the real ones beside them, which LabelMix mixes them with. Classes
    weigh by their pixels in a micro-batch on all ranks.
    """

    def __init__(self, model: ModelSettings, train: TrainSettings, shape: ImageShape, takes: Takes) -> None:
        super().__init__(model, train, shape, takes)
        given = takes[self.name]
        if not isinstance(given, LabelMap):
            raise SettingsError(
                f"task semantic makes images from label maps, and {INPUT} holds pictures; set kind: map and the classes of "
                f"data.NAME.fields.{INPUT}, or task: paired"
            )
        if train.objective != OBJECTIVE:
            raise SettingsError(
                f"objective: {train.objective} is for discriminators of two classes; task semantic has the cross-entropy of "
                f"all: set objective: {OBJECTIVE}, of which that is the general form"
            )
        if self.regularizers:
            unfit = ", ".join(one.key for one in self.regularizers)
            raise SettingsError(f"regularizers: {unfit} reads one logit an image, and task semantic has many; take it out")
        self.settings, self.classes = train.of_task("semantic"), len(given.classes)
        discriminator = zoo.patch_discriminator(model, shape, condition_channels=self.classes)
        if discriminator.condition_channels:
            raise SettingsError(
                f"model.architecture {model.architecture}: its discriminator does not tell the class of each pixel; choose "
                "oasis, or set task: paired"
            )
        self.begin({GENERATOR: self.generator, DISCRIMINATOR: discriminator})

    @property
    def undecided(self) -> float:  # type: ignore[override]
        """The discriminator's loss when it finds all classes, and that a pixel is generated, equally likely everywhere."""
        return 2 * math.log(1 + self.classes)

    def draw(self, update: Update, count: int) -> NamedDraws:
        drawn = super().draw(update, count)
        if update.role == "discriminator" and self.settings.labelmix:
            drawn = NamedDraws({**drawn.parts, "coins": Shared(torch.rand(1, self.classes) < 0.5)})
        return drawn

    def generator_loss(self, batch: Batch, draws: NamedDraws, weights: StepWeights) -> Loss:
        labels = batch[INPUT]
        (logits,) = self.seen(DISCRIMINATOR, self.made(labels, draws), draws, weights).logits
        loss = segmentation.generator_loss(logits, labels, segmentation.class_weights(labels, self.classes))
        return Loss(loss, {"loss_generator": loss.detach()})

    def discriminator_loss(self, batch: Batch, draws: NamedDraws, weights: StepWeights) -> Loss:
        target, labels = batch[TARGET], batch[INPUT]
        with torch.no_grad():
            images = [target, self.made(labels, draws)]
            if self.settings.labelmix:
                mask = segmentation.labelmix_mask(labels, draws.parts["coins"].value.expand(len(labels), -1))
                images.append(segmentation.mixed(mask, *images))
        (logits,) = self.seen(DISCRIMINATOR, torch.cat(images), draws, weights).logits
        real, fake, *mixture = logits.split(len(labels))
        total = segmentation.discriminator_loss(real, fake, labels, segmentation.class_weights(labels, self.classes))
        logged = {"loss_discriminator": total.detach(), "real_logits": _overall(real), "fake_logits": _overall(fake)}
        for one in mixture:
            consistency = segmentation.labelmix_loss(one, mask, real, fake)
            total = total + self.settings.labelmix * consistency
            logged["labelmix"] = consistency.detach()
        return Loss(total, logged)


def _overall(logits: Tensor) -> Tensor:
    """One logit an image [N]: the odds that it is real."""
    return PatchOutput((logits.detach(),), ()).overall


TASK = Semantic
