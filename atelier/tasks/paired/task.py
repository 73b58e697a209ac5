"""Image translation with pairs: pix2pix (Isola et al. 2017), pix2pixHD (Wang et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from atelier.config.data import TARGET
from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError
from atelier.config.training import TrainSettings
from atelier.data.packed import PackedDataset
from atelier.extractors.perceptual import distance, load_perception
from atelier.losses.reconstruction import feature_matching, foreground_weight, l1
from atelier.networks import zoo
from atelier.networks.base import Translator
from atelier.networks.inputs import Picture, Takes
from atelier.networks.layers import ImageShape
from atelier.tasks.base import Batch, Examples, Logged, Loss, Product, StepWeights, Update
from atelier.tasks.paired.probe import PairedProbe
from atelier.tasks.patch_adversarial import NamedDraws, PatchAdversarialTask
from atelier.tasks.records import INPUT, RecordSampler

SET, GENERATOR, DISCRIMINATOR = "data", "generator", "discriminator"
WHITE = 1.0
WEIGHTS = {"efficientnet_lite0": "packaged", "vgg16": "published"}


class Paired(PatchAdversarialTask):
    """A set whose records have `input` and `target`. The discriminator judges an image beside the input that it was made from.

    The generator learns first; the discriminator learns from what that made, so that a step has one pass of the generator.
    """

    updates = (Update(GENERATOR, (GENERATOR,), "generator"), Update(DISCRIMINATOR, (DISCRIMINATOR,), "discriminator"))
    products = (Product(GENERATOR, GENERATOR, imitates=SET),)
    sampling = RecordSampler

    @classmethod
    def build(cls, model: ModelSettings, train: TrainSettings, data: Mapping[str, PackedDataset]) -> Self:
        (pairs,) = data.values()
        if not {INPUT, TARGET} <= pairs.fields.keys():
            raise SettingsError(
                f"{pairs.folder}: its records have {', '.join(pairs.fields)}, but task paired learns from {INPUT} and {TARGET}; "
                "name these in data.NAME.fields and pack again"
            )
        takes: Takes = {"image": Picture(channels=pairs.fields[INPUT].channels, resolution=pairs.resolution)}  # type: ignore[arg-type]
        return cls(model, train, ImageShape(pairs.resolution, pairs.channels, 0), takes)

    def __init__(self, model: ModelSettings, train: TrainSettings, shape: ImageShape, takes: Takes) -> None:
        super().__init__(train, model.family.normalized)
        if train.augment != "none":
            raise SettingsError(
                f"augment: {train.augment} would move an image, but not the input beside it that the discriminator sees, too; "
                "set augment: none"
            )
        self.settings = train.of_task("paired")
        self.generator: Translator = zoo.translator(model, shape, takes)
        seen = self.generator.planes.width
        self.begin({GENERATOR: self.generator, DISCRIMINATOR: zoo.patch_discriminator(model, shape, condition_channels=seen)})
        self.perception = None
        if self.settings.perceptual:
            network = self.settings.perceptual_network
            self.perception = load_perception(network, WEIGHTS[network], "paired.perceptual_network")

    def draw(self, update: Update, count: int) -> NamedDraws:
        drawn: dict[str, Any] = self.draw_for(DISCRIMINATOR, update, count)
        if self.generator.noise_dim:
            drawn["noise"] = torch.randn(count, self.generator.noise_dim)
        for name, kind in self.generator.takes.items():
            if kind.random:
                drawn[f"input.{name}"] = kind.draw(count, torch.default_generator)
        if update.role == "discriminator" and "made" in self.pools:
            drawn |= {name: self.pools[name] for name in ("made", "given")}
        return NamedDraws(drawn)

    def loss(self, update: Update, batch: Batch, draws: NamedDraws, weights: StepWeights) -> Loss:
        of_role = self._discriminator_loss if update.role == "discriminator" else self._generator_loss
        return of_role(batch, draws, weights)

    def after(self, update: Update, logged: Logged) -> None:
        super().after(update, logged)
        if update.role == "generator":
            self.pools |= {name: logged[name] for name in ("made", "given")}

    def signals(self, update: Update, logged: Logged) -> dict[str, Tensor]:
        return super().signals(update, {name: values for name, values in logged.items() if name not in ("made", "given")})

    def probe(self, examples: Examples) -> PairedProbe:
        return PairedProbe(examples)

    def _generator_loss(self, batch: Batch, draws: NamedDraws, weights: StepWeights) -> Loss:
        target, (made, given) = batch[TARGET], self._made(batch, draws)
        adversarial, seen = self.adversarial(DISCRIMINATOR, target, made, draws, weights, given)
        parts, total = {"loss_generator": adversarial}, adversarial
        if self.settings.l1:
            weight = foreground_weight(target, WHITE, self.settings.white) if self.settings.white < 1 else None
            parts["l1"] = l1(made, target, weight)
            total = total + self.settings.l1 * parts["l1"]
        if self.settings.feature_matching:
            with torch.no_grad():
                real = self.seen(DISCRIMINATOR, target, draws, weights, given)
            parts["feature_matching"] = feature_matching(real.features, seen.features, "mean")
            total = total + self.settings.feature_matching * parts["feature_matching"]
        if self.perception is not None:
            perception = self.perception.to(made.device)
            with torch.no_grad():
                wanted = perception(target)
            parts["perceptual"] = distance(wanted, perception(made)).mean()
            total = total + self.settings.perceptual * parts["perceptual"]
        logged = {name: value.detach() for name, value in parts.items()}
        return Loss(total, logged | {"made": made.detach(), "given": given.detach()})

    def _discriminator_loss(self, batch: Batch, draws: NamedDraws, weights: StepWeights) -> Loss:
        """Of pairs of this step, and of what the generator made in the last one, each image beside its own input."""
        given = self.generator.planes({"image": batch[INPUT]})
        if "made" in draws.parts:
            made, of = draws.parts["made"], draws.parts["given"]
        else:  # before the generator's first step
            with torch.no_grad():
                made, of = self._made(batch, draws)
        return self.judge(DISCRIMINATOR, batch[TARGET], made, draws, weights, given, of)

    def _made(self, batch: Batch, draws: NamedDraws) -> tuple[Tensor, Tensor]:
        """Translations of the inputs, and the inputs as the discriminator sees them."""
        device = batch[INPUT].device
        inputs = {"image": batch[INPUT]}
        for name in self.generator.takes:
            if f"input.{name}" in draws.parts:
                inputs[name] = draws.parts[f"input.{name}"].to(device, non_blocking=True)
        noise = draws.parts.get("noise")
        made = self.translate(GENERATOR, None if noise is None else noise.to(device, non_blocking=True), **inputs)
        return made, self.generator.planes(inputs)


TASK = Paired
