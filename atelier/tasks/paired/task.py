"""Image translation with pairs: pix2pix (Isola et al. 2017), pix2pixHD (Wang et al. 2018), SPADE (Park et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from atelier.config.data import TARGET
from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError
from atelier.config.training import TrainSettings
from atelier.extractors.perceptual import WITHOUT_CHOICE, distance, load_perception
from atelier.losses.reconstruction import feature_matching, foreground_weight, l1
from atelier.networks import zoo
from atelier.networks.inputs import LabelMap, Takes
from atelier.networks.layers import ImageShape
from atelier.tasks.base import Batch, Loss, StepWeights, Update
from atelier.tasks.pairs import DISCRIMINATOR, GENERATOR, PairsTask
from atelier.tasks.patch_adversarial import NamedDraws
from atelier.tasks.records import INPUT

WHITE = 1.0
MADE, GIVEN = "made", "given"


class Paired(PairsTask):
    """The discriminator judges an image beside the input that it was made from: a picture, or planes of a label map's classes.

    The generator learns first; the discriminator learns from what that made.
    """

    shown = MADE, GIVEN

    def __init__(self, model: ModelSettings, train: TrainSettings, shape: ImageShape, takes: Takes) -> None:
        super().__init__(model, train, shape, takes)
        self.settings = train.of_task("paired")
        discriminator = zoo.patch_discriminator(model, shape, condition_channels=self.generator.planes.width)
        if not discriminator.condition_channels:
            raise SettingsError(
                f"model.architecture {model.architecture}: its discriminator is not shown what an image was made from, but tells "
                "the class of each pixel; set task: semantic, or choose spade"
            )
        self.begin({GENERATOR: self.generator, DISCRIMINATOR: discriminator})
        self.perception = None
        if self.settings.perceptual:
            network = self.settings.perceptual_network
            self.perception = load_perception(network, WITHOUT_CHOICE[network], "paired.perceptual_network")

    def draw(self, update: Update, count: int) -> NamedDraws:
        return NamedDraws({**super().draw(update, count).parts, **self.shown_in(update)})

    def generator_loss(self, batch: Batch, draws: NamedDraws, weights: StepWeights) -> Loss:
        target, given = batch[TARGET], batch[INPUT]
        made, seen_beside = self.made(given, draws), self._planes(given)
        adversarial, seen = self.adversarial(DISCRIMINATOR, target, made, draws, weights, seen_beside)
        parts, total = {"loss_generator": adversarial}, adversarial
        if self.settings.l1:
            weight = foreground_weight(target, WHITE, self.settings.white) if self.settings.white < 1 else None
            parts["l1"] = l1(made, target, weight)
            total = total + self.settings.l1 * parts["l1"]
        if self.settings.feature_matching:
            with torch.no_grad():
                real = self.seen(DISCRIMINATOR, target, draws, weights, seen_beside)
            parts["feature_matching"] = feature_matching(real.features, seen.features, "mean")
            total = total + self.settings.feature_matching * parts["feature_matching"]
        if self.perception is not None:
            perception = self.perception.to(made.device)
            with torch.no_grad():
                wanted = perception(target)
            parts["perceptual"] = distance(wanted, perception(made)).mean()
            total = total + self.settings.perceptual * parts["perceptual"]
        logged = {name: value.detach() for name, value in parts.items()}
        return Loss(total, logged | {MADE: made.detach(), GIVEN: given.to(made.dtype)})

    def discriminator_loss(self, batch: Batch, draws: NamedDraws, weights: StepWeights) -> Loss:
        """Of pairs of this step, and of what the generator made in the last one, each image beside its own input."""
        given = batch[INPUT]
        if MADE in draws.parts:
            made, of = draws.parts[MADE], draws.parts[GIVEN]
        else:  # before the generator's first step
            with torch.no_grad():
                made, of = self.made(given, draws), given
        return self.judge(DISCRIMINATOR, batch[TARGET], made, draws, weights, self._planes(given), self._planes(of))

    def _planes(self, given: Tensor) -> Tensor:
        """Inputs as the discriminator sees them. Label maps may come as floats, which is how ranks share them."""
        labels = isinstance(self.generator.takes[self.name], LabelMap)
        planes: Tensor = self.generator.planes({self.name: given.long() if labels else given})
        return planes


TASK = Paired
