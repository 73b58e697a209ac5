"""Restoration: clean pictures from small, blurred or noisy ones.

SRResNet and SRGAN (Ledig et al. 2017), ESRGAN (Wang et al. 2018), Real-ESRGAN (Wang et al. 2021).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from atelier.config.data import IMAGE, TARGET
from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError, parse
from atelier.config.training import TrainSettings
from atelier.data.crops import Crops
from atelier.data.packed import PackedDataset
from atelier.extractors.before_activation import load_before_activation
from atelier.losses.reconstruction import l1, l2
from atelier.networks import zoo
from atelier.networks.base import Network, Translator
from atelier.networks.inputs import Picture
from atelier.networks.layers import ImageShape
from atelier.tasks.alone import check_alone
from atelier.tasks.base import Batch, Examples, Loss, Product, StepWeights, Update
from atelier.tasks.patch_adversarial import NamedDraws, PatchAdversarialTask
from atelier.tasks.records import INPUT
from atelier.tasks.restoration.degraded import chain_of, degraded
from atelier.tasks.restoration.probe import RestorationProbe
from atelier.tasks.restoration.sampler import sampling_by
from atelier.tasks.restoration.settings import Settings
from atelier.tasks.restoration.sharpened import REACH, sharpened
from atelier.tasks.sampling import Sampling

SET, GENERATOR, DISCRIMINATOR = "data", "generator", "discriminator"
DEGRADED, MADE = "degraded", "made"


class Restoration(PatchAdversarialTask):
    """One generator of clean pictures from degraded ones; with `adversarial` above 0 a discriminator, which sees no input.

    The generator learns first; the discriminator learns from what that made.
    """

    shown = (MADE,)
    products = (Product(GENERATOR, GENERATOR, imitates=SET),)

    @classmethod
    def sampling_of(cls, own: Mapping[str, Any] | None) -> Sampling:
        return sampling_by(parse(own or {}, Settings, "the training of the model", "restoration"))

    @classmethod
    def build(cls, model: ModelSettings, train: TrainSettings, data: Mapping[str, PackedDataset]) -> Self:
        (images,) = data.values()
        check_set(images, train.of_task("restoration"))
        return cls(model, train, ImageShape(images.resolution, images.channels, 0), _channels(images))

    def __init__(self, model: ModelSettings, train: TrainSettings, shape: ImageShape, channels: int) -> None:
        """`shape` is that of the clean pictures, `channels` those of the degraded ones."""
        super().__init__(train, model.family.normalized)
        self.settings: Settings = train.of_task("restoration")
        self.crops = Crops(self.settings.crop, self.settings.flips, self.settings.turns)
        self.chain = chain_of(self.settings)
        side = shape.resolution // self.settings.scale
        takes = {"image": Picture(channels=channels, resolution=side)}  # type: ignore[arg-type]
        self.generator: Translator = zoo.translator(model, shape, takes)  # type: ignore[arg-type]
        _check_scale(model, self.generator, channels, side)
        networks: dict[str, Network] = {GENERATOR: self.generator}
        self.updates: tuple[Update, ...] = (Update(GENERATOR, (GENERATOR,), "generator"),)
        if self.settings.adversarial:
            seen = ImageShape(self.settings.crop or shape.resolution, shape.channels, 0)
            _check_crop(model, seen.resolution)
            networks[DISCRIMINATOR] = zoo.patch_discriminator(model, seen, condition_channels=0)
            self.updates += (Update(DISCRIMINATOR, (DISCRIMINATOR,), "discriminator"),)
        else:
            check_alone(train, "restoration.adversarial is 0, so that there is no discriminator", ", or adversarial above 0")
        self.begin(networks)
        self.perception = None
        if self.settings.perceptual:
            perception = load_before_activation(self.settings.perceptual_network, "restoration.perceptual_network")
            self.perception = perception.to(memory_format=torch.channels_last)

    @property
    def undecided(self) -> float:  # type: ignore[override]
        return super().undecided if self.settings.adversarial else 0.0

    def draw(self, update: Update, count: int) -> NamedDraws:
        drawn: dict[str, Any] = self.draw_for(DISCRIMINATOR, update, count) if self.settings.adversarial else {}
        shown = self.shown_in(update)
        if self.chain is not None and not shown:
            side = self.settings.crop or self.generator.shape.resolution
            drawn[DEGRADED] = self.chain.draw(count, side, torch.default_generator)
        return NamedDraws(drawn | shown)

    def loss(self, update: Update, batch: Batch, draws: NamedDraws, weights: StepWeights) -> Loss:
        of_role = self._discriminator_loss if update.role == "discriminator" else self._generator_loss
        return of_role(batch, draws, weights)

    def probe(self, examples: Examples) -> RestorationProbe:
        return RestorationProbe(self._fixed, examples)

    def _generator_loss(self, batch: Batch, draws: NamedDraws, weights: StepWeights) -> Loss:
        given, target = self._pair(batch, draws)
        made = self.translate(GENERATOR, image=given)
        weighted, logged = [], {}
        if self.settings.pixel:
            logged["l1"] = l1(made, target)
            weighted.append(self.settings.pixel * logged["l1"])
        if self.settings.squared:
            logged["l2"] = l2(made, target)
            weighted.append(self.settings.squared * logged["l2"])
        if self.perception is not None:
            logged["perceptual"] = self.perception.to(made.device).distance(made, target)
            weighted.append(self.settings.perceptual * logged["perceptual"])
        if self.settings.adversarial:
            logged["loss_generator"], _ = self.adversarial(DISCRIMINATOR, batch[self._clean], made, draws, weights)
            weighted.append(self.settings.adversarial * logged["loss_generator"])
            logged[MADE] = made
        return Loss(torch.stack(weighted).sum(), {name: value.detach() for name, value in logged.items()})

    def _discriminator_loss(self, batch: Batch, draws: NamedDraws, weights: StepWeights) -> Loss:
        """Of clean pictures, and of what the generator made in this step's update of its own."""
        made = draws.parts.get(MADE)
        if made is None:  # before the generator's first step
            with torch.no_grad():
                made = self.translate(GENERATOR, image=self._pair(batch, draws)[0])
        return self.judge(DISCRIMINATOR, batch[self._clean], made, draws, weights)

    def _pair(self, batch: Batch, draws: NamedDraws) -> tuple[Tensor, Tensor]:
        """A degraded picture and the clean one, sharpened where the settings say so."""
        clean = batch[self._clean]
        clean = sharpened(clean) if self.settings.sharpen_targets else clean
        return (batch[INPUT] if self.chain is None else degraded(self.chain, clean, draws.parts[DEGRADED])), clean

    def _fixed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """A degraded picture and the clean one as it is, degraded alike at every moment of a run."""
        clean = batch[self._clean]
        if self.chain is None:
            return batch[INPUT], clean
        draws = self.chain.draw(len(clean), clean.shape[2], torch.Generator().manual_seed(0))
        return degraded(self.chain, clean, draws), clean

    @property
    def _clean(self) -> str:
        """The field of the clean picture."""
        return TARGET if self.chain is None else IMAGE


def check_set(images: PackedDataset, settings: Settings) -> None:
    """Raises SettingsError for a set that does not suit the settings."""
    pairs = settings.degradations.pairs
    wanted = [INPUT, TARGET] if pairs else [IMAGE]
    if not {*wanted} <= images.fields.keys():
        raise SettingsError(
            f"{images.folder}: its records have {', '.join(images.fields)}, and restoration.degradations needs "
            f"{' and '.join(wanted)}; pairs is for records of a degraded and a clean picture, all else for single images"
        )
    if pairs and (found := images.fields[INPUT].scale) != settings.scale:
        raise SettingsError(
            f"restoration.scale is {settings.scale}, but {images.folder} holds inputs of 1/{found} of the target's side; set "
            f"scale: {found}"
        )
    if not images.whole and (settings.crop or settings.flips or settings.turns):
        raise SettingsError(
            f"restoration.crop, flips and turns cut whole pictures, and {images.folder} holds squares; pack it with "
            "data.NAME.fit: whole, or leave them out"
        )
    for what, side in (("resolution", images.resolution), ("restoration.crop", settings.crop)):
        if settings.sharpen_targets and 0 < side <= REACH:
            raise SettingsError(f"{what} is {side}, and restoration.sharpen_targets looks {REACH} px around; choose more")
        if side % settings.scale:
            raise SettingsError(f"{what} is {side}, which is no multiple of restoration.scale {settings.scale}; choose another")


def _channels(images: PackedDataset) -> int:
    """Channels of the degraded pictures."""
    return images.fields[INPUT].channels if INPUT in images.fields else images.channels


def _check_scale(model: ModelSettings, generator: Translator, channels: int, side: int) -> None:
    """Raises SettingsError for a family whose pictures are not of the wanted side; nothing is computed to know it."""
    shapes, wanted = copy.deepcopy(generator).eval().to("meta"), generator.shape.resolution
    try:
        with torch.no_grad():
            found = shapes(None, image=torch.empty(1, channels, side, side, device="meta")).shape[3]
    except (RuntimeError, ValueError):  # of layers that make their input smaller than it is
        found = None
    if found != wanted:
        raise SettingsError(
            f"restoration.scale: {model.architecture} does not make {wanted} px of {side} px; choose an architecture that "
            "enlarges (srresnet, rrdb), or scale: 1"
        )


def _check_crop(model: ModelSettings, side: int) -> None:
    """Raises SettingsError for a family whose discriminator cannot see crops of this side."""
    try:
        model.family.check(side)
    except ValueError as error:
        raise SettingsError(f"of crops of {side} px: {error}") from error


TASK = Restoration
