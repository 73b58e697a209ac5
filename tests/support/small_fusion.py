"""Very small networks that fuse noise, text and sound, and batches for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atelier.config.model import ModelSettings
from atelier.config.section import parse
from atelier.networks import zoo
from atelier.networks.fusion import FusionDiscriminator, FusionGenerator, inputs_of
from atelier.networks.inputs import Sound, Takes, Text
from atelier.networks.layers import ImageShape
from tests.support.small_models import written

NOISE, SIZE, BANDS, FRAMES = 6, 12, 40, 64
SMALL = {"code": 16, "width_generator": 4, "widest_generator": 8, "width_discriminator": 4, "widest_discriminator": 8}


def model(**section: Any) -> ModelSettings:
    """A family of a few channels; `section` replaces values of its own section."""
    values = {"task": "fusion", "architecture": "fusion", "latent_dim": NOISE, "fusion": SMALL | {"width_sound": 4} | section}
    return parse(values, ModelSettings, origin="a test")


def takes(sound: bool = True) -> Takes:
    """Noise, a text given as numbers, and maybe a sound."""
    return inputs_of(NOISE, Text(size=SIZE), Sound(bands=BANDS, frames=FRAMES) if sound else None)


def networks(
    side: int = 28, channels: int = 1, sound: bool = True, **section: Any
) -> tuple[FusionGenerator, FusionDiscriminator]:
    """Both networks, the same ones each time, in which every layer matters: none starts at zero."""
    torch.manual_seed(0)
    generator, discriminator = zoo.fusing(model(**section), ImageShape(side, channels, 0), takes(sound))
    assert isinstance(generator, FusionGenerator) and isinstance(discriminator, FusionDiscriminator)
    with torch.no_grad():
        for network in (generator, discriminator):
            for parameter in network.parameters():
                if not parameter.any():
                    torch.nn.init.normal_(parameter, std=0.05)
    return generator, discriminator


def told(count: int, sound: bool = True, seed: int = 0) -> dict[str, Tensor]:
    """Noise, texts and sounds of so many records, all of them there."""
    rng = torch.Generator().manual_seed(seed)
    shapes = {"noise": (NOISE,), "text": (SIZE,), **({"audio": (BANDS, FRAMES)} if sound else {})}
    return {name: torch.randn(count, *shape, generator=rng) for name, shape in shapes.items()}


def make_checkpoint(folder: Path, side: int = 28, classes: list[str] | None = None) -> Path:
    """A checkpoint of such a generator."""
    folder.mkdir()
    return written(folder, networks(side)[0], model(), classes or [])
