"""Very small networks that translate pictures, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from atelier.config.model import ModelSettings, architectures
from atelier.config.model import family as family_of
from atelier.config.section import parse
from atelier.networks import zoo
from atelier.networks.base import PatchDiscriminator, Translator
from atelier.networks.inputs import LabelMap, Noise, Picture, Takes
from atelier.networks.layers import ImageShape
from atelier.networks.restoration_sections import RestorationSettings
from atelier.networks.translation_sections import TranslationSettings
from tests.support.small_models import written

TRANSLATORS = tuple(name for name in architectures() if issubclass(family_of(name), TranslationSettings))
RESTORERS = tuple(name for name in TRANSLATORS if issubclass(family_of(name), RestorationSettings))

CLASSES = ["sky", "face", "hair"]
WIDTHS = {"width": 2, "width_discriminator": 4, "width_labels": 4, "doublings": 3}
SMALL: dict[str, dict[str, Any]] = {
    "cyclegan": {"width": 4, "blocks": 2, "width_discriminator": 4, "layers_discriminator": 2},
    "cut": {"width": 4, "blocks": 2, "width_discriminator": 4, "layers_discriminator": 2},
    "csrnet": {"width": 4, "width_condition": 4, "width_discriminator": 4, "layers_discriminator": 2},
    "oasis": WIDTHS | {"layers_discriminator": 3},
    "spade": WIDTHS | {"layers_discriminator": 2, "scales": 2},
    "pix2pixhd": {"width": 4, "blocks": 1, "halvings": 2, "width_discriminator": 4, "layers_discriminator": 2, "scales": 2},
    "pix2pix": {"width": 4, "width_discriminator": 4, "layers_discriminator": 2},
    "srresnet": {"width": 4, "blocks": 2, "width_discriminator": 4, "layers_discriminator": 2},
    "rrdb": {"width": 4, "growth": 3, "blocks": 2, "width_discriminator": 4, "layers_discriminator": 2},
    "denoising_unet": {"width": 4, "halvings": 2, "blocks": 1, "width_discriminator": 4, "layers_discriminator": 2},
}


def model(family: str, **section: Any) -> ModelSettings:
    """A family of a few channels; `section` replaces values of its own section."""
    return parse({"architecture": family, family: SMALL[family] | section}, ModelSettings, origin="a test")


def takes(family: str, side: int = 32, channels: Literal[1, 3] = 3) -> Takes:
    """Inputs that a family translates to images of so many colors."""
    if "width_labels" not in SMALL[family]:
        return {"image": Picture(channels=channels if family in RESTORERS else 3, resolution=side)}
    return {"noise": Noise(size=6, truncation=False), "map": label_map(CLASSES, side)}


def label_map(classes: list[str], side: int) -> LabelMap:
    """A label map of these classes, in any colors."""
    return LabelMap(classes=classes, colors=[f"#{7 * index + 1:06x}" for index in range(len(classes))], resolution=side)


def given(takes: Takes, count: int = 2, side: int | None = None) -> dict[str, Tensor]:
    """Such inputs, of another side where it is said."""
    rng = torch.Generator().manual_seed(1)
    if side is not None:
        takes = {name: kind.model_copy(update={"resolution": side}) for name, kind in takes.items()}
    return {name: kind.draw(count, rng) for name, kind in takes.items()}


def translators(
    family: str, side: int = 32, channels: Literal[1, 3] = 3, scale: int = 1, **section: Any
) -> tuple[Translator, PatchDiscriminator]:
    """Both networks, the same ones each time, from `side` to `scale` times as much; the discriminator sees the input, too."""
    torch.manual_seed(0)
    settings, shape = model(family, **section), ImageShape(scale * side, channels, 0)
    translator = zoo.translator(settings, shape, takes(family, side, channels))
    return translator, zoo.patch_discriminator(settings, shape, translator.planes.width)


def varied(translator: Translator) -> dict[str, Tensor]:
    """Two inputs, with the noise of training."""
    inputs = given(translator.takes)
    return inputs if "noise" in inputs or not translator.noise_dim else inputs | {"noise": torch.randn(2, translator.noise_dim)}


def passed(translator: Translator, discriminator: PatchDiscriminator) -> tuple[Tensor, Tensor]:
    """A picture and its logit."""
    inputs = varied(translator)
    images = translator(**inputs)
    return images, discriminator(images, condition(translator, discriminator, inputs)).overall


def condition(translator: Translator, discriminator: PatchDiscriminator, inputs: dict[str, Tensor]) -> Tensor | None:
    """What the discriminator sees beside the picture."""
    planes: Tensor = translator.planes(inputs)
    return planes if discriminator.condition_channels else None


def make_checkpoint(folder: Path, family: str, side: int = 32, scale: int = 1, **section: Any) -> Path:
    """A checkpoint of a translator in which every layer matters, with batch statistics of its own pictures."""
    folder.mkdir()
    translator, _ = translators(family, side, scale=scale, **section)
    with torch.no_grad():
        for parameter in translator.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.5 * parameter[0].numel() ** -0.5)
        for _ in range(20):
            translator.power_iteration()
            translator(**given(translator.takes, 8))
    return written(folder, translator, model(family, **section), [])
