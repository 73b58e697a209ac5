"""Style transfer by a network: Johnson et al. 2016 (one style), Huang and Belongie 2017 (AdaIN, any style).

The networks that make pictures learn alone: what they make is compared with content and style by a pretrained network.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from atelier.config.data import IMAGE
from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError
from atelier.config.training import TrainSettings
from atelier.data.crops import Crops
from atelier.data.packed import PackedDataset
from atelier.data.sampler import positions
from atelier.extractors.looking import CHOSEN, Look, load_look
from atelier.losses.reconstruction import l1
from atelier.losses.style import content_loss, gram, gram_loss, moment_loss, total_variation
from atelier.models.model import from_uint8
from atelier.networks import zoo
from atelier.networks.adain import AdaINGenerator, inputs_of
from atelier.networks.base import Generator
from atelier.networks.inputs import Picture
from atelier.networks.layers import ImageShape, wide
from atelier.networks.moments import adain
from atelier.networks.vgg import VGG
from atelier.tasks.adversarial import prepare
from atelier.tasks.alone import check_alone
from atelier.tasks.base import Batch, Examples, Loss, Product, StepWeights, Task, Update
from atelier.tasks.compiling import compiled
from atelier.tasks.patch_adversarial import NamedDraws
from atelier.tasks.style.probe import StyleProbe
from atelier.tasks.style.sampler import CONTENT, STYLE, StyleSampler
from atelier.tasks.style.settings import Settings

GENERATOR = "generator"
LEARNT = 64  # records of the styles, at most, of which a generator of one style learns the mean
PART = 8  # of them at once
EQUALIZED = 16  # records of each set, at most, that say how strong features are


class Targets(NamedTuple):
    """Features [N, c, h, w] by layer of the contents and those that are wanted; of the style's, features or Gram matrices."""

    plain: dict[str, Tensor]
    content: dict[str, Tensor]
    style: dict[str, Tensor]


class Style(Task):
    """A set of contents and one of styles. What takes one picture learns the mean of all styles, what takes two learns any."""

    sets: ClassVar[tuple[str, ...]] = (CONTENT, STYLE)
    updates = (Update(GENERATOR, (GENERATOR,), "generator"),)
    products = (Product(GENERATOR, GENERATOR, imitates=STYLE, reads=CONTENT),)
    sampling = StyleSampler

    @classmethod
    def build(cls, model: ModelSettings, train: TrainSettings, data: Mapping[str, PackedDataset]) -> Self:
        contents, styles = data[CONTENT], data[STYLE]
        for images in data.values():
            if IMAGE not in images.fields:
                raise SettingsError(
                    f"{images.folder}: its records have {', '.join(images.fields)}, but task style learns from single images; "
                    "leave data.NAME.fields out and pack again"
                )
        shapes = [ImageShape(images.resolution, images.channels, 0) for images in (contents, styles)]
        if shapes[0] != shapes[1]:
            raise SettingsError(
                f"{contents.folder} and {styles.folder} have not the same resolution and channels; set data.NAME.resolution and "
                "channels alike and pack again"
            )
        own: Settings = train.of_task("style")
        if (own.crop or own.flips) and not (contents.whole or styles.whole):
            raise SettingsError(
                f"train.style.crop and flips cut whole pictures, and {contents.folder} and {styles.folder} hold squares; pack "
                "one of them with data.NAME.fit: whole, or leave both keys out"
            )
        task = cls(model, train, shapes[0])
        task.begin(contents, styles)
        return task

    def __init__(self, model: ModelSettings, train: TrainSettings, shape: ImageShape) -> None:
        super().__init__()
        check_alone(train, "task style has no discriminator")
        self.settings: Settings = train.of_task("style")
        self.crops = Crops(self.settings.crop, self.settings.flips)
        own = self.settings
        self.look: Look = load_look(own.network, own.weights, own.sha256, "train.style.")
        usual = CHOSEN[own.network]
        self.content_layer, self.style_layers = own.content_layer or usual.content, tuple(own.style_layers or usual.style)
        self.look.check([self.content_layer], "train.style.content_layer")
        self.look.check(self.style_layers, "train.style.style_layers")
        picture = Picture(channels=shape.channels, resolution=shape.resolution)  # type: ignore[arg-type]
        two = model.architecture == "adain"
        takes = inputs_of(shape.channels, shape.resolution) if two else {"image": picture}
        self.generator: Generator = zoo.translator(model, shape, takes)  # type: ignore[arg-type]
        self.any_style = self.generator if isinstance(self.generator, AdaINGenerator) else None
        self._check(model)
        self.grams: dict[str, Tensor] = {}
        self.networks = {GENERATOR: self.generator}
        prepare([self.generator], train)
        learnt = self.generator if self.any_style is None else self.any_style.decoder
        self._pass: Callable[..., Tensor] = compiled(learnt) if train.compile else learnt

    def _check(self, model: ModelSettings) -> None:
        """Raises SettingsError for what does not suit the generator."""
        own = self.settings
        try:
            model.family.check(own.crop or self.generator.shape.resolution)
        except ValueError as error:
            raise SettingsError(f"train.style.crop: {error}") from error
        if self.any_style is None:
            if own.identity or own.statistics != "gram":
                raise SettingsError(
                    f"train.style: {model.architecture} learns the Gram matrices of one style, which is no picture's own; set "
                    "statistics: gram and identity: 0.0, or choose model.architecture: adain"
                )
            return
        encoder = model.family.encoder  # type: ignore[attr-defined]
        if own.network != encoder or own.content_layer:
            raise SettingsError(
                f"train.style: adain compares contents by its own encoder's last layer; set network: {encoder} (or another "
                "model.adain.encoder), and leave content_layer out"
            )
        known = self.any_style.encoder.names
        if beyond := [name for name in self.style_layers if name not in known]:
            raise SettingsError(
                f"train.style.style_layers: {', '.join(beyond)} lies beyond {known[-1]}, where adain's encoder ends; choose "
                f"among {', '.join(known)}, or another model.adain.layer"
            )

    def begin(self, contents: PackedDataset, styles: PackedDataset) -> None:
        """Takes of the sets what is fixed: scales of the features, and the encoder's weights or the styles that are learnt."""
        if self.any_style is not None:
            assert isinstance(self.look.network, VGG)
            first = [one.images(positions(0, len(one), 0, min(len(one), EQUALIZED))) for one in (contents, styles)]
            typical = from_uint8(torch.from_numpy(np.concatenate(first)))
            self.any_style.encoder.load(dict(self.look.network.layers.named_buffers()))
            self.any_style.encoder.equalize(typical)
            self.any_style.calibrate(typical)
            return
        rows = positions(0, len(styles), 0, min(len(styles), LEARNT))
        parts: dict[str, list[Tensor]] = {name: [] for name in self.style_layers}
        with torch.no_grad():
            for start in range(0, len(rows), PART):
                images = from_uint8(torch.from_numpy(styles.images(rows[start : start + PART])))
                for name, seen in self.look(images, self.style_layers).items():
                    parts[name].append(gram(seen))
        self.grams = {name: torch.cat(found).mean(dim=0, keepdim=True) for name, found in parts.items()}

    def draw(self, update: Update, count: int) -> NamedDraws:
        """Nothing is random."""
        return NamedDraws({})

    def loss(self, update: Update, batch: Batch, draws: NamedDraws, weights: StepWeights) -> Loss:
        content, style, own = batch[f"{CONTENT}.{IMAGE}"], batch[f"{STYLE}.{IMAGE}"], self.settings
        if self.any_style is not None and not (own.content or own.style):
            given_back = l1(wide(self._pass(self.any_style.features(content))), content)
            return Loss(own.identity * given_back, {"identity": given_back.detach()})
        targets = self._targets(content, style)
        made = wide(self._pass(targets.content) if self.any_style is not None else self._pass(image=content))
        parts = self._compared(made, targets)
        total = own.content * parts["content_loss"].mean() + own.style * parts["style_loss"].mean()
        if own.variation:
            parts["variation"] = total_variation(made)
            total = total + own.variation * parts["variation"].mean()
        if own.identity:
            parts["identity"] = l1(wide(self._pass(targets.plain)), content)
            total = total + own.identity * parts["identity"]
        return Loss(total, {name: values.detach() for name, values in parts.items()})

    @torch.no_grad()
    def _targets(self, content: Tensor, style: Tensor) -> Targets:
        """What pictures of these contents are compared with."""
        if self.any_style is None:
            plain = self._seen(content, [self.content_layer])
            return Targets(plain, plain, {name: wanted.to(content.device) for name, wanted in self.grams.items()})
        levels = self.any_style.settings.levels
        plain, seen = self.any_style.features(content), self._seen(style, {*self.style_layers, *levels})
        by_gram = self.settings.statistics == "gram"
        compared = {name: gram(seen[name]) if by_gram else seen[name] for name in self.style_layers}
        looks = self.any_style.standardized(seen)
        return Targets(plain, {name: adain(plain[name], looks[name]) for name in levels}, compared)

    def _seen(self, images: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """What is compared: by the encoder of any style, which a base of a fine-tuning brings, or by a network that looks on."""
        if self.any_style is not None:
            return self.any_style.seen(images, names)
        layers: dict[str, Tensor] = self.look.to(images.device)(images, names)
        return layers

    def _compared(self, made: Tensor, targets: Targets) -> dict[str, Tensor]:
        """The losses of content and style, [N] each, and those of the style's layers."""
        own = self.any_style
        layer, levels = (self.content_layer, ()) if own is None else (own.settings.layer, own.settings.levels)
        seen = self._seen(made, {*self.style_layers, layer, *levels})
        each = {}
        for name, wanted in targets.style.items():
            by_moments = self.settings.statistics == "moments"
            each[name] = moment_loss(seen[name], wanted) if by_moments else gram_loss(gram(seen[name]), wanted)
        kept = (seen if own is None else own.standardized(seen))[layer]
        losses = {"content_loss": content_loss(kept, targets.content[layer])}
        losses["style_loss"] = torch.stack(list(each.values())).mean(dim=0)
        return losses | {f"style_{name}": value for name, value in each.items()}

    def probe(self, examples: Examples) -> StyleProbe:
        return StyleProbe(self._fixed, examples)

    def _fixed(self, made: Tensor, content: Tensor, style: Tensor) -> dict[str, Tensor]:
        """The losses of pictures that were made of contents and styles."""
        return self._compared(made, self._targets(content, style))


TASK = Style
