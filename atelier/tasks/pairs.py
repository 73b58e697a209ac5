"""The base of tasks that learn from pairs: records of an `input`, a picture or a label map, and a `target`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from atelier.config.data import TARGET
from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError
from atelier.config.training import TrainSettings
from atelier.data.packed import PackedDataset
from atelier.networks import zoo
from atelier.networks.base import Translator
from atelier.networks.inputs import Takes
from atelier.networks.layers import ImageShape
from atelier.networks.translation_sections import TranslationSettings
from atelier.tasks.base import Batch, Examples, Loss, Product, StepWeights, Update
from atelier.tasks.pairs_probe import PairsProbe
from atelier.tasks.patch_adversarial import NamedDraws, PatchAdversarialTask
from atelier.tasks.records import INPUT, RecordSampler, record_input, takes_from

SET, GENERATOR, DISCRIMINATOR = "data", "generator", "discriminator"


class PairsTask(PatchAdversarialTask):
    """One generator of targets from inputs, beside noise where its architecture takes any, and one discriminator.

    `name` is that of the input among what the generator takes.
    """

    updates = (Update(GENERATOR, (GENERATOR,), "generator"), Update(DISCRIMINATOR, (DISCRIMINATOR,), "discriminator"))
    products = (Product(GENERATOR, GENERATOR, imitates=SET),)
    sampling = RecordSampler

    @classmethod
    def build(cls, model: ModelSettings, train: TrainSettings, data: Mapping[str, PackedDataset]) -> Self:
        (pairs,) = data.values()
        if not {INPUT, TARGET} <= pairs.fields.keys():
            raise SettingsError(
                f"{pairs.folder}: its records have {', '.join(pairs.fields)}, but task {model.task} learns from {INPUT} and "
                f"{TARGET}; name these in data.NAME.fields and pack again"
            )
        noise = model.family.noise_size if isinstance(model.family, TranslationSettings) else 0
        takes = takes_from(pairs.fields[INPUT], pairs.resolution, noise)
        return cls(model, train, ImageShape(pairs.resolution, pairs.channels, 0), takes)

    def __init__(self, model: ModelSettings, train: TrainSettings, shape: ImageShape, takes: Takes) -> None:
        super().__init__(train, model.family.normalized)
        if train.augment != "none":
            raise SettingsError(
                f"augment: {train.augment} would move an image, but not the input beside it that the discriminator sees, too; "
                "set augment: none"
            )
        self.name = record_input(takes)
        self.generator: Translator = zoo.translator(model, shape, takes)

    def draw(self, update: Update, count: int) -> NamedDraws:
        drawn: dict[str, Any] = self.draw_for(DISCRIMINATOR, update, count)
        if size := self.generator.noise_size or self.generator.noise_dim:
            drawn["noise"] = torch.randn(count, size)
        return NamedDraws(drawn)

    def loss(self, update: Update, batch: Batch, draws: NamedDraws, weights: StepWeights) -> Loss:
        of_role = self.discriminator_loss if update.role == "discriminator" else self.generator_loss
        return of_role(batch, draws, weights)

    @abstractmethod
    def generator_loss(self, batch: Batch, draws: NamedDraws, weights: StepWeights) -> Loss:
        """The loss of the generator's update."""

    @abstractmethod
    def discriminator_loss(self, batch: Batch, draws: NamedDraws, weights: StepWeights) -> Loss:
        """The loss of the discriminator's update."""

    def probe(self, examples: Examples) -> PairsProbe:
        return PairsProbe(self.generator.takes, examples)

    def made(self, given: Tensor, draws: NamedDraws) -> Tensor:
        """What the generator makes of the inputs, by the drawn noise."""
        noise = draws.parts.get("noise")
        return self.translate(
            GENERATOR, None if noise is None else noise.to(given.device, non_blocking=True), **{self.name: given}
        )
