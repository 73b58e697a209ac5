"""Image translation without pairs: CycleGAN (Zhu et al. 2017), CUT and FastCUT (Park et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from atelier.config.data import IMAGE
from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError
from atelier.config.training import TrainSettings
from atelier.data.packed import PackedDataset
from atelier.losses.contrastive import patch_nce
from atelier.losses.image_pool import pool_step
from atelier.losses.reconstruction import l1
from atelier.networks import zoo
from atelier.networks.base import Network
from atelier.networks.inputs import Picture
from atelier.networks.layers import ImageShape, wide
from atelier.networks.patch_mlps import PatchMLPs
from atelier.networks.resnet_translator import ResNetTranslator
from atelier.tasks.base import Batch, Examples, Logged, Loss, Product, StepWeights, Update
from atelier.tasks.patch_adversarial import NamedDraws, PatchAdversarialTask, Shared, summed
from atelier.tasks.records import RecordSampler
from atelier.tasks.translation.probe import TranslationProbe
from atelier.tasks.translation.settings import Settings

A, B = "a", "b"
A_TO_B, B_TO_A = "a_to_b", "b_to_a"
PATCHES = "patches"  # the network that makes patches comparable
TO = {B: A_TO_B, A: B_TO_A}  # by the set that a translator imitates
OTHER = {A: B, B: A}


class Translation(PatchAdversarialTask):
    """Two sets, `a` and `b`, whose images do not correspond. The generators learn first, the discriminators from what they made.

    With train.translation.cycle there are two generators, each the other's way back, and both are products; without it there is
    one, from a to b.
    """

    sets: ClassVar[tuple[str, ...]] = (A, B)
    sampling = RecordSampler

    @classmethod
    def products_of(cls, train: TrainSettings) -> tuple[Product, ...]:
        return tuple(Product(TO[to], TO[to], imitates=to, reads=OTHER[to]) for to in directions(train.of_task("translation")))

    @classmethod
    def build(cls, model: ModelSettings, train: TrainSettings, data: Mapping[str, PackedDataset]) -> Self:
        for images in data.values():
            if IMAGE not in images.fields:
                raise SettingsError(
                    f"{images.folder}: its records have {', '.join(images.fields)}, but task translation learns from single "
                    "images; leave data.NAME.fields out and pack again, or take task paired"
                )
        return cls(model, train, {name: ImageShape(images.resolution, images.channels, 0) for name, images in data.items()})

    def __init__(self, model: ModelSettings, train: TrainSettings, shapes: Mapping[str, ImageShape]) -> None:
        super().__init__(train, model.family.normalized)
        self.shapes, self.settings = shapes, train.of_task("translation")
        self.to = directions(self.settings)
        self._check_shapes()
        self.products = self.products_of(train)
        generators: dict[str, Network] = {TO[to]: self._translator(model, to) for to in self.to}
        if self.settings.contrast:
            generators[PATCHES] = self._patches(generators[A_TO_B])
        discriminators: dict[str, Network] = {
            discriminator_of(to): zoo.patch_discriminator(model, shapes[to], condition_channels=0) for to in self.to
        }
        self.begin({**generators, **discriminators})
        self.updates = (
            Update("generator", tuple(generators), "generator"),
            Update("discriminator", tuple(discriminators), "discriminator"),
        )

    def _check_shapes(self) -> None:
        """Raises SettingsError for sets of different shapes, where a network would have to pass images of both."""
        a, b = self.shapes[A], self.shapes[B]
        if a.resolution != b.resolution:
            raise SettingsError(
                f"set a has {a.resolution} px and set b {b.resolution}, and a translator keeps the side; set "
                "data.NAME.resolution alike and pack again"
            )
        if a.channels != b.channels and (self.settings.identity or self.settings.contrast):
            raise SettingsError(
                f"set a has {a.channels} channels and set b {b.channels}, and translation.identity and contrast give a generator "
                "images of the set that it imitates; set cycle alone, or data.NAME.channels alike and pack again"
            )

    def _translator(self, model: ModelSettings, to: str) -> Network:
        given = self.shapes[OTHER[to]]
        takes = {"image": Picture(channels=given.channels, resolution=given.resolution)}  # type: ignore[arg-type]
        return zoo.translator(model, self.shapes[to], takes)  # type: ignore[arg-type]

    def _patches(self, generator: Network) -> PatchMLPs:
        """The networks that make patches comparable. Raises SettingsError for a generator without such maps."""
        if not isinstance(generator, ResNetTranslator):
            raise SettingsError("translation.contrast compares maps of a generator of residual blocks: choose architecture cut")
        shapes, wanted = generator.feature_shapes, self.settings.contrast_layers
        if unknown := [name for name in wanted if name not in shapes]:
            raise SettingsError(
                f"translation.contrast_layers: the generator has no {', '.join(unknown)}; choose among {', '.join(shapes)}"
            )
        return PatchMLPs({name: shapes[name] for name in wanted})

    def draw(self, update: Update, count: int) -> NamedDraws:
        drawn: dict[str, Any] = {}
        if self.settings.contrast and update.role == "generator":
            patches = self.networks[PATCHES]
            assert isinstance(patches, PatchMLPs)
            drawn["places"] = Shared(patches.draw(self.settings.places))
            drawn["mirrored"] = Shared(bool(torch.rand(()) < self.settings.flip))
        for to in self.to:
            drawn |= self.draw_for(discriminator_of(to), update, count)
            if update.role == "generator":
                drawn[f"pool_{to}"] = torch.rand(count, 2)
            elif (shown := self.pools.get(f"shown_{to}")) is not None:
                drawn[f"shown_{to}"] = shown
        return NamedDraws(drawn)

    def loss(self, update: Update, batch: Batch, draws: NamedDraws, weights: StepWeights) -> Loss:
        real = {name: batch[f"{name}.image"] for name in (A, B)}
        if update.role == "discriminator":
            return self._discriminator_loss(real, draws, weights)
        return self._contrast_loss(real, draws, weights) if self.settings.contrast else self._cycle_loss(real, draws, weights)

    def after(self, update: Update, logged: Logged) -> None:
        """The pools take what the generators made, and say what the discriminators are shown of it."""
        super().after(update, logged)
        if update.role == "generator":
            for to in self.to:
                self._show(to, logged[f"made_{to}"], logged[f"pool_{to}"])

    def signals(self, update: Update, logged: Logged) -> dict[str, Tensor]:
        return super().signals(
            update, {name: values for name, values in logged.items() if not name.startswith(("made_", "pool_"))}
        )

    def probe(self, examples: Examples) -> TranslationProbe:
        return TranslationProbe({TO[to]: (OTHER[to], to) for to in self.to}, examples)

    def _show(self, to: str, made: Tensor, draws: Tensor) -> None:
        if not self.settings.pool:
            self.pools[f"shown_{to}"] = made
            return
        pool = self.pools.get(f"pool_{to}")
        if pool is None:
            pool = made.new_zeros(self.settings.pool, *made.shape[1:])
        count = int(self.memory.get(f"pool_{to}", 0))
        self.pools[f"pool_{to}"], self.pools[f"shown_{to}"] = pool_step(pool, count, made, draws)
        self.memory[f"pool_{to}"] = min(count + len(made), len(pool))

    def _cycle_loss(self, real: dict[str, Tensor], draws: NamedDraws, weights: StepWeights) -> Loss:
        """The adversarial loss, L1 of the way there and back, and L1 of an image and its translation into its own set."""
        made, own = dict[str, Tensor](), dict[str, Tensor]()
        for to in self.to:  # both in one pass, since the norms are an image's own
            given = [real[OTHER[to]], real[to]] if self.settings.identity else [real[OTHER[to]]]
            made[to], *rest = self.translate(TO[to], image=torch.cat(given)).split(len(real[to]))
            own |= {to: rest[0]} if rest else {}
        parts: dict[str, Tensor] = {}
        adversarial = [self.adversarial(discriminator_of(to), real[to], made[to], draws, weights)[0] for to in self.to]
        parts["loss_generator"] = torch.stack(adversarial).sum()
        total = parts["loss_generator"]
        if self.settings.cycle:
            back = [l1(self.translate(TO[OTHER[to]], image=made[to]), real[OTHER[to]]) for to in self.to]
            parts["cycle"] = torch.stack(back).sum()
            total = total + self.settings.cycle * parts["cycle"]
        if own:
            parts["identity"] = torch.stack([l1(own[to], real[to]) for to in self.to]).sum()
            total = total + self.settings.identity * parts["identity"]
        return Loss(total, self._logged(parts, made, draws))

    def _contrast_loss(self, real: dict[str, Tensor], draws: NamedDraws, weights: StepWeights) -> Loss:
        """The adversarial loss, PatchNCE of input and output, and both PatchNCE and L1 of an image in its own set.

        A mirrored step is FastCUT's: what comes of a mirrored picture is mirrored back before it is compared (appendix C).
        """
        given, own, mirrored = real[A], real[B], draws.parts["mirrored"].value
        keeps = bool(self.settings.contrast_identity or self.settings.identity)
        inputs = torch.cat([given, own]) if keeps else given
        generator = self._generator
        made, maps = generator.features(image=inputs.flip(3) if mirrored else inputs)
        made_b, *rest = wide(made).split(len(given))
        adversarial, _ = self.adversarial(discriminator_of(B), own, made_b, draws, weights)
        query = generator.encode(image=made if self.settings.contrast_identity else made_b)
        key = maps  # of the pass that made the picture
        if mirrored:
            query = {name: values.flip(3) for name, values in query.items()}
            with torch.no_grad():
                key = generator.encode(image=inputs)
        parts = {"loss_generator": adversarial, "contrast": self._nce(query, key, slice(0, len(given)), draws)}
        total = adversarial + self.settings.contrast * parts["contrast"]
        if self.settings.contrast_identity:
            parts["contrast_identity"] = self._nce(query, key, slice(len(given), None), draws)
            total = total + self.settings.contrast_identity * parts["contrast_identity"]
        if self.settings.identity:
            parts["identity"] = l1(rest[0], own.flip(3) if mirrored else own)
            total = total + self.settings.identity * parts["identity"]
        return Loss(total, self._logged(parts, {B: made_b}, draws))

    @property
    def _generator(self) -> ResNetTranslator:
        generator = self.networks[A_TO_B]
        assert isinstance(generator, ResNetTranslator)
        return generator

    def _nce(self, query: dict[str, Tensor], key: dict[str, Tensor], part: slice, draws: NamedDraws) -> Tensor:
        """PatchNCE of a part of the batch, the mean over layers."""
        patches, places = self.networks[PATCHES], draws.parts["places"].value
        layers = self.settings.contrast_layers
        q = patches({name: query[name][part] for name in layers}, places)
        with torch.no_grad():
            k = patches({name: key[name][part] for name in layers}, places)
        return torch.stack([patch_nce(q[name], k[name]) for name in layers]).mean()

    def _logged(self, parts: dict[str, Tensor], made: dict[str, Tensor], draws: NamedDraws) -> Logged:
        logged = {name: value.detach() for name, value in parts.items()}
        for to, images in made.items():
            logged |= {f"made_{to}": images.detach(), f"pool_{to}": draws.parts[f"pool_{to}"].to(images.device)}
        return logged

    def _discriminator_loss(self, real: dict[str, Tensor], draws: NamedDraws, weights: StepWeights) -> Loss:
        losses = []
        for to in self.to:
            shown = draws.parts.get(f"shown_{to}")
            if shown is None:  # before the generators' first step
                with torch.no_grad():
                    shown = self.translate(TO[to], image=real[OTHER[to]])
            losses.append(self.judge(discriminator_of(to), real[to], shown, draws, weights))
        return summed(losses)


def directions(settings: Settings) -> tuple[str, ...]:
    """The sets that translators imitate."""
    return (B, A) if settings.cycle else (B,)


def discriminator_of(to: str) -> str:
    """The name of the discriminator of a set."""
    return f"discriminator_{to}"


TASK = Translation
