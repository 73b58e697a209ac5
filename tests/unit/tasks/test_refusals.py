"""Settings and sets that tasks which translate cannot use are refused before a step is made, with the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from atelier.config.data import DataSettings
from atelier.config.section import SettingsError
from atelier.data.packed import PackedDataset
from atelier.errors import AtelierError
from atelier.models.model import NETWORKS, GeneratorError
from atelier.networks.base import Translator
from atelier.tasks.find import check_sets, find
from atelier.training.checkpoint import PretrainedModel
from tests.support.driver import tiny
from tests.support.packing import quietly
from tests.support.small_models import written
from tests.support.translation_fixtures import drawings
from tests.support.translation_tasks import OF_TASKS, built, chosen

__all__ = ["drawings"]


@pytest.mark.parametrize(
    ("name", "override", "told"),
    [
        ("cyclegan", "train.regularizers={zcr_discriminator: 5.0}", "zcr_discriminator moves in the space of latents.* out"),
        ("pix2pix", "train.regularizers={path_length: 2.0}", "path_length needs styles.*take it out"),
        ("cut", "train.translation.contrast_layers=[image, down9]", "has no down9; choose among image, down1, block1, block2"),
        ("cut", "model.architecture=pix2pix", "compares maps of a generator of residual blocks: choose architecture cut"),
        ("cut", "train.translation.contrast=0", "nothing ties a translation to its input; set cycle .* or contrast"),
        ("cut", "train.translation.cycle=1", "two ways to the same end; set one of them to 0.0"),
        ("cyclegan", "train.translation.contrast_identity=1", "set contrast, or contrast_identity: 0.0"),
        ("pix2pix", "train.augment=diffaugment", "augment: diffaugment would move an image.*set augment: none"),
        ("pix2pix", "train.translation={}", "train.translation is for task translation, but model.task is paired; take it out"),
        ("cyclegan", "train.paired={}", "train.paired is for task paired, but model.task is translation; take it out"),
        ("cyclegan", "train.paired.l1=1", "train.paired is for task paired, but model.task is translation; take it out"),
        ("pix2pix", "train.paired.l2=1", "train.paired.l2: unknown key; allowed here: feature_matching, l1, perceptual"),
        ("cyclegan", "model.architecture=dcgan", "dcgan starts from noise, and task translation from pictures: choose"),
        ("pix2pix", "model.architecture=mlp", "mlp starts from noise, and task paired from pictures: choose among adain, csrnet"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit(name: str, override: str, told: str) -> None:
    with pytest.raises(AtelierError) as refused:
        built(name, override)
    assert re.search(told, str(refused.value)), refused.value


@pytest.mark.parametrize("name", ["cyclegan", "pix2pix"])
def test_more_frozen_stages_than_there_are(name: str) -> None:
    assert built(name, "finetune.freeze_discriminator=3", section="finetune")
    with pytest.raises(SettingsError, match="freeze_discriminator is 4, but the discriminator has 3 stages"):
        built(name, "finetune.freeze_discriminator=4", section="finetune")


@pytest.mark.parametrize("family", ["cyclegan", "cut", "pix2pix"])
def test_a_translator_makes_no_images_of_noise(family: str, drawings: dict[str, Path]) -> None:
    sides = [f"data.{name}.resolution=32" for name in ("base", "target")]
    settings = tiny(f"model.architecture={family}", f"model.{family}.layers_discriminator=2", "model.conditional=false", *sides)
    with pytest.raises(AtelierError, match=f"{family} starts from pictures, and task generation from noise: choose among biggan"):
        find("generation").build(settings.model, settings.train, {"data": PackedDataset(drawings["a"])})


def test_sets_are_those_of_the_task(drawings: dict[str, Path]) -> None:
    one = chosen("pix2pix")
    with pytest.raises(SettingsError, match=r"train\.data names data, but task translation learns from a, b; name these"):
        check_sets(find("translation"), one.train, "train")
    for folder in ("a", "pairs"):
        packed = PackedDataset(drawings[folder])
        if folder == "a":
            with pytest.raises(SettingsError, match="its records have image, but task paired learns from input and target; name"):
                find("paired").build(one.model, one.train, {"data": packed})
        else:
            two = chosen("cyclegan")
            with pytest.raises(SettingsError, match="its records have input, target, but task translation learns from single"):
                find("translation").build(two.model, two.train, {"a": packed, "b": packed})


@pytest.fixture(name="gray")
def gray_fixture(
    tmp_path: Path,
    data_settings: Callable[..., DataSettings],
    encode: Callable[..., bytes],
    pictures: Callable[..., list[np.ndarray]],
) -> Path:
    (tmp_path / "raw").mkdir()
    for number, picture in enumerate(pictures(80, shape=(64, 64))):
        (tmp_path / "raw" / f"{number}.png").write_bytes(encode(picture))
    for side in (32, 64):
        settings = data_settings(source="folder", path=str(tmp_path / "raw"), channels=1, resolution=side, labels=False)
        quietly(settings, tmp_path / str(side), workers=1)
    return tmp_path


def test_sets_of_different_shapes(drawings: dict[str, Path], gray: Path) -> None:
    """Gray pictures become colored ones where no network has to pass both."""
    task, colored = find("translation"), PackedDataset(drawings["b"])
    sets = {side: {"a": PackedDataset(gray / side), "b": colored} for side in ("32", "64")}
    for name in ("cyclegan", "fastcut"):
        settings = chosen(name)
        with pytest.raises(SettingsError, match=r"a has 64 px and set b 32, .* set data.NAME.resolution alike"):
            task.build(settings.model, settings.train, sets["64"])
        with pytest.raises(SettingsError, match=r"a has 1 channels and set b 3, .* set cycle alone, or data.NAME.channels alike"):
            task.build(settings.model, settings.train, sets["32"])
    settings = chosen("cyclegan", "train.translation.identity=0")
    made = task.build(settings.model, settings.train, sets["32"])
    generators = {product.name: made.networks[product.network] for product in made.products}
    assert {name: one.shape.channels for name, one in generators.items() if isinstance(one, Translator)} == {
        "a_to_b": 3,
        "b_to_a": 1,
    }


def test_each_product_goes_on_with_sets_of_its_own_shape(drawings: dict[str, Path], gray: Path, tmp_path: Path) -> None:
    """What it imitates has the channels that it gives, and what it reads those that it takes."""
    task, settings = find("translation"), chosen("cyclegan", "train.translation.identity=0")
    a, b = PackedDataset(gray / "32"), PackedDataset(drawings["b"])
    made = task.build(settings.model, settings.train, {"a": a, "b": b})
    for product in made.products:
        generator, folder = made.networks[product.network], tmp_path / "model" / product.name
        assert isinstance(generator, Translator)
        folder.mkdir(parents=True)
        save_file(generator.state_dict(), folder / NETWORKS)
        written(folder, generator, settings.model, [], product.name)
    start = PretrainedModel(tmp_path / "model")
    start.check(task, settings.model, settings.train, {"a": a, "b": b})
    with pytest.raises(GeneratorError, match=r"images of 32 px with 1 channels, but .*a_to_b makes 32 px with 3; pack the"):
        start.check(task, settings.model, settings.train, {"a": a, "b": a})
    with pytest.raises(SettingsError, match=r"takes pictures of 1 channels, but .* holds pictures of 3 channels; give it a set"):
        start.check(task, settings.model, settings.train, {"a": b, "b": b})


@pytest.mark.parametrize("name", OF_TASKS)
def test_what_fits_is_taken(name: str) -> None:
    """The settings that the refused ones are made of."""
    assert built(name).products
