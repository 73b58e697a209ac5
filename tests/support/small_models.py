"""Very small networks of every family, for tests: their settings, and checkpoints of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from atelier.config.model import STAGES, ModelSettings, architectures
from atelier.config.model import family as family_of
from atelier.config.section import parse
from atelier.models.model import GeneratorInfo, Gives, write_info
from atelier.networks import zoo
from atelier.networks.base import Discriminator, Generator, LatentGenerator
from atelier.networks.layers import ImageShape

LATENT = 6
WIDTHS = {"width_generator": 4, "widest_generator": 8, "width_discriminator": 4, "widest_discriminator": 8}
FROM_NOISE = tuple(name for name in architectures() if family_of(name).start == "noise")
CLASSES = ["zéro", "one", "two", "three", "four"]


def model(
    family: str, conditional: bool = True, resolution: int = 28, conditioning: str = "projection", **section: Any
) -> ModelSettings:
    """A family of a few neurons; `section` replaces values of its own section."""
    values: dict[str, Any] = {
        "mlp": {"hidden": [16]},
        "mlp_deep": {"hidden": [16, 24]},
        "dcgan": {"width": 4, "batch_norm": False},
        "resnet": WIDTHS | {"dropout": 0.1},
        "sagan": WIDTHS | {"attention": 1},
        "progan": {"width": 8, "widest": 16, "grown": 0.5, "group": 2},
        "biggan": WIDTHS | {"attention": 1, "embedding": 5, "scales": 1},
        "stylegan2": {
            "width": 4,
            "widest": 8,
            "mapping_layers": 2,
            "mixing": 0.0,
            "generator": "skip",
            "discriminator": "residual",
            "group": 2,
        },
        "r3gan": {"channels": [8] * STAGES.get(resolution, 3), "blocks": 1, "expansion": 2, "group_size": 4},
        "gat": {"width": 16, "depth": 4, "heads": 2, "patch": 4, "projection": 8},
    }
    values[family] |= section
    shared = {"architecture": family, "conditional": conditional, "conditioning": conditioning, "latent_dim": LATENT}
    return parse(shared | values, ModelSettings, origin="a test")


def networks(
    family: str, conditional: bool, resolution: int, channels: int, conditioning: str = "projection"
) -> tuple[LatentGenerator, Discriminator]:
    """Both networks, the same ones each time."""
    torch.manual_seed(0)
    return zoo.build(model(family, conditional, resolution, conditioning), ImageShape(resolution, channels, len(CLASSES)))


def make_checkpoint(folder: Path, family: str, conditional: bool = True, resolution: int = 28, channels: int = 1) -> Path:
    """A checkpoint of a generator in which every layer matters: no weights near zero, batch statistics of its own images."""
    folder.mkdir()
    generator, _ = networks(family, conditional, resolution, channels)
    with torch.no_grad():
        for parameter in generator.parameters():
            if parameter.ndim > 1 and parameter.std() < 0.1:
                torch.nn.init.normal_(parameter, std=0.5 * parameter[0].numel() ** -0.5)
        for _ in range(30):
            generator(torch.randn(16, LATENT), torch.arange(16) % 5)
    return written(folder, generator, model(family, conditional, resolution), CLASSES)


def written(folder: Path, generator: Generator, settings: ModelSettings, classes: list[str], product: str = "generator") -> Path:
    """The checkpoint folder of a generator that nothing is told of but what it takes and gives."""
    save_file(generator.state_dict(), folder / "generator.safetensors")
    info = GeneratorInfo(
        model=settings.identity(),
        takes=generator.takes,
        gives=Gives(resolution=generator.shape.resolution, channels=generator.shape.channels),
        classes=classes,
        images_seen=640,
        step=10,
        seed=0,
        data={},
        settings={},
        code={},
        run_key="key",
        metric={},
        parent=None,
        product=product,
    )
    write_info(folder, info)
    return folder
