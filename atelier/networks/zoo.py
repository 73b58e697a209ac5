"""From an architecture's name to its two networks."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from atelier.config.model import ModelSettings, modules
from atelier.networks.layers import Discriminator, ImageShape, LatentGenerator, NetworkError


def build(model: ModelSettings, shape: ImageShape) -> tuple[LatentGenerator, Discriminator]:
    """Generator and discriminator of the chosen family, initialised from torch's global random generator.

    `NETWORKS` of atelier/networks/ARCHITECTURE.py names their classes; no other family is imported. Unless `model.conditional`,
    the networks are built without labels (their `shape.classes` is 0).
    Raises NetworkError when labels are wanted but absent, or the family cannot make this shape.
    """
    if model.conditional and shape.classes < 1:
        raise NetworkError("model.conditional needs a data set with labels; set data.NAME.labels, or model.conditional: false")
    if not model.conditional:
        shape = replace(shape, classes=0)
    generator, discriminator = import_module(modules(model.architecture)[0]).NETWORKS
    return generator(model.family, model.latent_dim, shape), discriminator(model.family, shape, model.conditioning)
