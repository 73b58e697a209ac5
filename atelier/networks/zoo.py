"""From the settings' family name to its two players."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from atelier.model_settings import ModelSettings
from atelier.networks.biggan import BigGANDiscriminator, BigGANGenerator
from atelier.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from atelier.networks.layers import Discriminator, Generator, ImageShape, NetworkError
from atelier.networks.mlp import MLPDiscriminator, MLPGenerator
from atelier.networks.progan import ProGANDiscriminator, ProGANGenerator
from atelier.networks.r3gan import R3GANDiscriminator, R3GANGenerator
from atelier.networks.resnet import ResNetDiscriminator, ResNetGenerator
from atelier.networks.sagan import SAGANDiscriminator, SAGANGenerator
from atelier.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator

FAMILIES: dict[str, tuple[Callable[..., Generator], Callable[..., Discriminator]]] = {
    "mlp": (MLPGenerator, MLPDiscriminator),
    "mlp_deep": (MLPGenerator, MLPDiscriminator),
    "dcgan": (DCGANGenerator, DCGANDiscriminator),
    "resnet": (ResNetGenerator, ResNetDiscriminator),
    "sagan": (SAGANGenerator, SAGANDiscriminator),
    "progan": (ProGANGenerator, ProGANDiscriminator),
    "biggan": (BigGANGenerator, BigGANDiscriminator),
    "stylegan2": (StyleGAN2Generator, StyleGAN2Discriminator),
    "r3gan": (R3GANGenerator, R3GANDiscriminator),
}


def build(model: ModelSettings, shape: ImageShape) -> tuple[Generator, Discriminator]:
    """Generator and discriminator of the chosen family, initialised from torch's global random generator.

    Unless `model.conditional`, the networks are built without labels (their `shape.classes` is 0).
    Raises NetworkError when labels are wanted but absent, or the family cannot make this shape.
    """
    if model.conditional and shape.classes < 1:
        raise NetworkError("model.conditional needs a data set with labels; set data.labels, or model.conditional: false")
    if not model.conditional:
        shape = replace(shape, classes=0)
    generator, discriminator = FAMILIES[model.architecture]
    section = getattr(model, model.architecture)
    return generator(section, model.latent_dim, shape), discriminator(section, shape, model.conditioning)
