"""From the settings' family name to its title and its two players."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from atelier.config.model import ModelSettings
from atelier.networks.biggan import BigGANDiscriminator, BigGANGenerator
from atelier.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from atelier.networks.layers import Discriminator, Generator, ImageShape, NetworkError
from atelier.networks.mlp import MLPDiscriminator, MLPGenerator
from atelier.networks.progan import ProGANDiscriminator, ProGANGenerator
from atelier.networks.r3gan import R3GANDiscriminator, R3GANGenerator
from atelier.networks.resnet import ResNetDiscriminator, ResNetGenerator
from atelier.networks.sagan import SAGANDiscriminator, SAGANGenerator
from atelier.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator


class Family(NamedTuple):
    """What a family is called where people read of it, with its source, and its players.

    `normalised` by batch norm, it sees each micro-batch by itself, which changes more than rounding.
    """

    title: str
    generator: Callable[..., Generator]
    discriminator: Callable[..., Discriminator]
    normalised: bool = False


FAMILIES = {
    "mlp": Family("MLP GAN (Goodfellow 2014)", MLPGenerator, MLPDiscriminator),
    "mlp_deep": Family("Deep MLP GAN (Goodfellow 2014)", MLPGenerator, MLPDiscriminator),
    "dcgan": Family("DCGAN (Radford 2016)", DCGANGenerator, DCGANDiscriminator, normalised=True),
    "resnet": Family("Spectral-norm ResNet GAN (Miyato 2018)", ResNetGenerator, ResNetDiscriminator, normalised=True),
    "sagan": Family("Self-attention GAN (Zhang 2019)", SAGANGenerator, SAGANDiscriminator, normalised=True),
    "progan": Family("Progressive GAN (Karras 2018)", ProGANGenerator, ProGANDiscriminator),
    "biggan": Family("BigGAN (Brock 2019)", BigGANGenerator, BigGANDiscriminator, normalised=True),
    "stylegan2": Family("StyleGAN2 (Karras 2020)", StyleGAN2Generator, StyleGAN2Discriminator),
    "r3gan": Family("R3GAN (Huang 2024)", R3GANGenerator, R3GANDiscriminator),
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
    family, section = FAMILIES[model.architecture], getattr(model, model.architecture)
    return family.generator(section, model.latent_dim, shape), family.discriminator(section, shape, model.conditioning)
