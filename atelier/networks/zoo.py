"""From an architecture's name to its two networks."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

from atelier.config.model import ModelSettings, architectures, family, modules
from atelier.networks.base import Discriminator, Generator, LatentGenerator, PatchDiscriminator, Translator
from atelier.networks.blended import SHARPNESS, BlendedGenerator
from atelier.networks.inputs import Takes
from atelier.networks.layers import ImageShape, NetworkError


def build(model: ModelSettings, shape: ImageShape) -> tuple[LatentGenerator, Discriminator]:
    """Generator and discriminator of the chosen family, initialized from torch's global random generator.

    `NETWORKS` of atelier/networks/ARCHITECTURE.py names their classes; no other family is imported. Unless `model.conditional`,
    the networks are built without labels (their `shape.classes` is 0).
    Raises NetworkError when labels are wanted but absent, or the family cannot make this shape or starts from no noise.
    """
    kinds = _classes(model, "noise")
    if model.conditional and shape.classes < 1:
        raise NetworkError("model.conditional needs a data set with labels; set data.NAME.labels, or model.conditional: false")
    if not model.conditional:
        shape = replace(shape, classes=0)
    generator: LatentGenerator = kinds[0](model.family, model.latent_dim, shape)
    generator.read()
    return generator, kinds[1](model.family, shape, model.conditioning)


def generator(model: ModelSettings, shape: ImageShape, takes: Takes) -> Generator:
    """The generator alone, for weights to be loaded: one that makes images of noise, or one of other inputs, which it is told.

    Two of them as one where they take a `sharpness`.
    """
    if SHARPNESS in takes:
        rest = {name: kind for name, kind in takes.items() if name != SHARPNESS}
        smooth, sharp = (generator(model, shape, rest) for _ in range(2))
        return BlendedGenerator(smooth, sharp, takes[SHARPNESS])  # type: ignore[arg-type]
    made: type[Generator] = import_module(modules(model.architecture)[0]).NETWORKS[0]
    if issubclass(made, LatentGenerator):
        assert model.latent_dim  # which settings make sure of
        return made(model.family, model.latent_dim, shape if model.conditional else replace(shape, classes=0))  # type: ignore[arg-type,call-arg]
    return made(model.family, shape, takes)


def translator(model: ModelSettings, shape: ImageShape, takes: Takes) -> Translator:
    """A translator of the chosen family, initialized from torch's global random generator: `takes` to images of this shape.

    Raises NetworkError where the family makes images of noise, or cannot take these inputs.
    """
    made: Translator = _classes(model, "pictures")[0](model.family, shape, takes)
    return made


def patch_discriminator(model: ModelSettings, shape: ImageShape, condition_channels: int) -> PatchDiscriminator:
    """Its discriminator, which sees images of this shape beside so many channels of what they were made of.

    Raises NetworkError for a family that learns without one.
    """
    classes = _classes(model, "pictures")
    if len(classes) < 2:
        raise NetworkError(
            f"model.architecture {model.architecture} has no discriminator, for it learns without one: choose task style"
        )
    made: PatchDiscriminator = classes[1](model.family, shape, condition_channels)
    return made


def fusing(model: ModelSettings, shape: ImageShape, takes: Takes) -> tuple[Generator, Discriminator]:
    """Generator and discriminator of a family that fuses noise, text and sound: `takes` to images of this shape.

    Initialized from torch's global random generator. Raises NetworkError where the family starts from something else.
    """
    kinds = _classes(model, "text and sound")
    return kinds[0](model.family, shape, takes), kinds[1](model.family, shape, takes)


def _classes(model: ModelSettings, start: str) -> Any:
    """The classes of both networks. Raises NetworkError for a family whose generator starts from something else."""
    if model.family.start != start:
        able = ", ".join(name for name in architectures() if family(name).start == start)
        raise NetworkError(
            f"model.architecture {model.architecture} starts from {model.family.start}, and task {model.task} from {start}: "
            f"choose among {able}"
        )
    return import_module(modules(model.architecture)[0]).NETWORKS
