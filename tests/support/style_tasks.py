"""Tiny runs of task style: their settings, weights of an encoder that nobody trained, and a set of styles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from atelier.config.data import DataSettings
from atelier.config.model import ModelSettings
from atelier.config.section import parse
from atelier.config.settings import Settings
from atelier.io.files import sha256_file
from atelier.networks import zoo
from atelier.networks.adain import AdaINGenerator, inputs_of
from atelier.networks.inputs import Picture, Takes
from atelier.networks.layers import ImageShape
from atelier.networks.vgg import VGG
from tests.support.driver import tiny
from tests.support.packing import quietly
from tests.support.small_models import written
from tests.support.translation_tasks import COMMON

SIDE, STYLES = 32, 16
SETS = [
    *(f"{training}.data={{content: base, style: target}}" for training in ("train", "finetune")),
    *(f"products.{name}.{one}" for name in ("base", "finetuned") for one in ("data=target", "inputs=base")),
]
MEASURED = [
    *(f"{training}.evaluate_by=style_balance" for training in ("train", "finetune")),
    "evaluate.metrics=[style]",
    "gate.primary=style_balance",
    "gate.min_coverage=0.0",
    "gate.min_recall=0.0",
]
BASE = ["model.task=style", *COMMON, *SETS, *MEASURED]


def encoder_weights(folder: Path) -> Path:
    """A file of weights for hed_vgg16 up to relu3_2, one layer beyond what adain takes of it here."""
    torch.manual_seed(5)
    path = folder / "encoder.safetensors"
    save_file(dict(VGG("hed_vgg16", "relu3_2").layers.named_buffers()), path)
    return path


def overrides(family: str, weights: Path, section: str = "") -> list[str]:
    """What makes params.yaml a tiny project of style; `section` goes into train.style and finetune.style."""
    seen = f"network: hed_vgg16, weights: {weights}, sha256: {sha256_file(weights)}, style_layers: [relu1_1, relu2_1]"
    own = "width: 4, blocks: 1" if family == "johnson" else "encoder: hed_vgg16, layer: relu3_1"
    layer = ", content_layer: relu2_1" if family == "johnson" else ", statistics: moments, identity: 0.5"
    section = f"{{{seen}{layer}{', ' if section else ''}{section}}}"
    return [
        *(*BASE, f"model.architecture={family}", f"model.{family}={{{own}}}"),
        *(f"{training}.style={section}" for training in ("train", "finetune")),
    ]


def chosen(family: str, weights: Path, *more: str, section: str = "") -> Settings:
    """The settings of such a project."""
    return tiny(*overrides(family, weights, section), *more)


@pytest.fixture(name="weights", scope="session")
def weights_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder_weights(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def checks(
    tmp_path_factory: pytest.TempPathFactory, data_settings: Callable[..., DataSettings], encode: Callable[..., bytes]
) -> Path:
    """The folder of a packed set of styles: colored checkerboards, of which none is held out."""
    raw, packed = tmp_path_factory.mktemp("checks"), tmp_path_factory.mktemp("packed") / "checks"
    for number in range(STYLES):
        colors = np.random.default_rng(number).integers(0, 256, (2, 3), dtype=np.uint8)
        y, x = np.mgrid[:40, :48] // (number + 2) % 2
        (raw / f"{number}.png").write_bytes(encode(colors[x ^ y]))
    settings = data_settings(
        source="folder", path=str(raw), channels=3, resolution=SIDE, fit="crop", margin=0, holdout=0.0, labels=False
    )
    quietly(settings, packed, workers=1)
    return packed


def style_checkpoint(folder: Path, family: str = "adain") -> Path:
    """A checkpoint of a generator of styles, 32 px, that nobody trained."""
    folder.mkdir(parents=True)
    section = {"encoder": "hed_vgg16", "layer": "relu3_1"} if family == "adain" else {"width": 4, "blocks": 1}
    model = parse({"task": "style", "architecture": family, family: section}, ModelSettings, origin="a test")
    torch.manual_seed(0)
    takes: Takes = inputs_of(3, SIDE) if family == "adain" else {"image": Picture(channels=3, resolution=SIDE)}
    generator = zoo.generator(model, ImageShape(SIDE, 3, 0), takes)
    if isinstance(generator, AdaINGenerator):
        generator.calibrate(torch.rand(2, 3, SIDE, SIDE) * 2 - 1)
    return written(folder, generator, model, [])


def picture_file(path: Path, seed: int, size: tuple[int, int] = (48, 40)) -> Path:
    """A PNG of large spots of color."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
    return path
