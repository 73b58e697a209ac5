"""Balanced sets: what is real stays, what is generated is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from atelier.augmentation import balance as module
from atelier.augmentation.balance import BalanceError, balance, of_classes
from atelier.data.packed import PackedDataset
from atelier.models.model import load_latent_generator
from atelier.networks.base import LatentGenerator
from components.augment import augment
from tests.support.small_models import CLASSES, make_checkpoint

COUNTS = {"one": 9, "two": 3, "zéro": 1}  # in another order than the generator's


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> LatentGenerator:
    return load_latent_generator(make_checkpoint(tmp_path_factory.mktemp("models") / "few", "dcgan"))


@pytest.fixture(scope="module")
def few(pack_images: Callable[..., PackedDataset]) -> PackedDataset:
    """Gray noise, few of some classes; a part of the first is held out."""
    random = np.random.default_rng(0)
    images = {name: list(random.integers(0, 256, (count, 28, 28), dtype=np.uint8)) for name, count in COUNTS.items()}
    split = {f"train/{name}": one for name, one in images.items()}
    held_out = {"test/one": list(random.integers(0, 256, (2, 28, 28), dtype=np.uint8))}
    return pack_images(split | held_out, resolution=28, channels=1, split="given")


def pixels(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


def whole(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    packed = PackedDataset(folder, split)
    return packed.images(np.arange(len(packed))), packed.labels


@pytest.mark.parametrize(("most", "expected"), [(None, [9, 9, 9]), (11, [11, 11, 11]), (3, [9, 3, 3])])
def test_classes_are_filled_up_and_it_is_said(
    most: int | None, expected: list[int], few: PackedDataset, generator: LatentGenerator, tmp_path: Path
) -> None:
    manifest = balance(few.folder, generator, "models:/few/1", tmp_path / "balanced", most, seed=4)
    made, (images, labels) = PackedDataset(tmp_path / "balanced"), whole(tmp_path / "balanced", "train")
    assert made.classes == few.classes and np.bincount(labels).tolist() == expected
    real, held_out = few.images(np.arange(len(few))), whole(few.folder, "test")
    assert all(np.array_equal(one, other) for one, other in zip(whole(tmp_path / "balanced", "test"), held_out, strict=True))
    said = json.loads((tmp_path / "balanced" / "generated.json").read_text())
    added = len(images) - len(real)
    assert pixels(images) - pixels(real) == pixels(images[said["records"]]) and len(said["records"]) == added
    assert said["of"] == dict(zip(few.classes, (np.array(expected) - [9, 3, 1]).tolist(), strict=True))
    assert (said["generator"], said["weights"], said["seed"]) == ("models:/few/1", generator.sha256, 4)
    source = made.manifest.source
    assert (
        source
        == manifest.source
        == few.manifest.source
        | {
            "generated": f"{added} of {len(images)} images for training",
            "generator": "models:/few/1",
            "generator_sha256": generator.sha256,
        }
    )
    assert made.manifest.processing == few.manifest.processing


def test_images_are_of_their_class_whatever_its_place(generator: LatentGenerator) -> None:
    counts = np.array([2, 0, 3])
    made = of_classes(generator, ["two", "one", "zéro"], counts, seed=1)
    other = of_classes(generator, CLASSES, np.array([3, 0, 2, 0, 0]), seed=1)
    assert made.labels.tolist() == [0, 0, 2, 2, 2] and other.labels.tolist() == [0, 0, 0, 2, 2]
    again = of_classes(generator, ["two", "one", "zéro"], counts, seed=1)
    assert np.array_equal(made.images, again.images)
    same_noise = of_classes(generator, ["zéro", "one", "two"], counts, seed=1)
    assert not np.array_equal(made.images, same_noise.images)


def test_a_generator_that_gives_its_images_back_is_refused(
    few: PackedDataset, generator: LatentGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = of_classes

    def copying(*args: object) -> module.Labelled:
        made = own(*args)  # type: ignore[arg-type]
        made.images[0] = few.images(np.array([0]))
        made.images[2] = made.images[1]
        return made

    monkeypatch.setattr(module, "of_classes", copying)
    with pytest.raises(BalanceError, match="2 of 14 generated images equal real ones, or each other"):
        balance(few.folder, generator, "few", tmp_path / "balanced")
    assert not (tmp_path / "balanced").exists()


@pytest.mark.parametrize(
    ("changed", "family", "told"),
    [
        ({"most": 1}, {}, "each class has 1 images or more already"),
        ({}, {"conditional": False}, "the generator makes no classes; give one"),
        ({}, {"channels": 3}, "28 px with 1 channels, and the generator makes 28 px with 3"),
    ],
)
def test_what_does_not_fit_is_refused(
    changed: dict[str, int], family: dict[str, bool | int], told: str, few: PackedDataset, tmp_path: Path
) -> None:
    other = load_latent_generator(make_checkpoint(tmp_path / "other", "dcgan", **family))  # type: ignore[arg-type]
    with pytest.raises(BalanceError, match=told):
        balance(few.folder, other, "other", tmp_path / "balanced", **changed)


def test_the_command_takes_a_checkpoint(few: PackedDataset, tmp_path: Path) -> None:
    model = make_checkpoint(tmp_path / "model", "dcgan")
    manifest = augment(data=few.folder, model=model, output=tmp_path / "balanced", cache=tmp_path / "cache", device="cpu")
    assert manifest.source["generator"] == str(model)
    assert len(PackedDataset(tmp_path / "balanced")) == 27
