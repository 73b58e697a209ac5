"""One command makes images with any model: what it takes is what can be said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from atelier.io.files import sha256_file
from atelier.models.model import GeneratorInfo, Gives, load_generator, read_info, sample
from atelier.models.pyfunc import ServedGenerator
from atelier.networks.base import Generator
from atelier.networks.inputs import Picture, Takes
from atelier.networks.layers import ImageShape
from components import generate as component
from components.generate import MANIFEST, RequestError, generate, takes
from tests.support.checkpoints import write_checkpoint

CLASSES = ["zero", "one", "two"]


@pytest.fixture
def digits_model(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model", 0, CLASSES)


class Negative(Generator):
    """Gives the negative of the picture that it takes."""

    @property
    def takes(self) -> Takes:
        return {"photo": Picture(channels=3, resolution=8)}

    def __init__(self) -> None:
        super().__init__()
        self.shape, self.sha256 = ImageShape(8, 3, 0), "n" * 64

    def forward(self, photo: Tensor) -> Tensor:
        return -photo


@pytest.fixture
def negative(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of a task that makes pictures of pictures, already loaded."""
    served = ServedGenerator.__new__(ServedGenerator)
    served.generator, served.device = Negative(), "cpu"
    served.info = GeneratorInfo(
        task="toys", product="negative", model={}, takes=served.generator.takes, gives=Gives(resolution=8, channels=3),
        classes=[], images_seen=0, step=0, seed=0, data={}, settings={}, code={}, run_key="", metric={}, parent=None,
    )  # fmt: skip
    served.columns = ["photo"]
    monkeypatch.setattr(component, "_served", lambda folder, device: served)
    return Path("negative")


def written(folder: Path) -> list[dict[str, Any]]:
    manifest = json.loads((folder / MANIFEST).read_text())
    for one in manifest["images"]:
        assert sha256_file(folder / one["file"]) == one["sha256"]
    assert sorted(path.name for path in folder.iterdir()) == [one["file"] for one in manifest["images"]] + [MANIFEST]
    images: list[dict[str, Any]] = manifest["images"]
    return images


def test_seeds_and_classes_in_turn(digits_model: Path, tmp_path: Path) -> None:
    made = generate(digits_model, tmp_path / "out", tmp_path / "cache", count=5, seed=7, classes=["two", "0"])
    assert made == written(tmp_path / "out")
    assert [(one["seed"], one["class"]) for one in made] == [(7, "two"), (8, "zero"), (9, "two"), (10, "zero"), (11, "two")]
    expected = next(sample(load_generator(digits_model), 1, 9, labels=torch.tensor([2])))[0, 0]
    with Image.open(tmp_path / "out" / "000002.png") as image:
        assert np.abs(np.array(image).astype(int) - expected).max() <= 1 and "atelier" in image.text  # type: ignore[attr-defined]


def test_what_was_interrupted_goes_on(digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(component, "AT_ONCE", 2)
    whole = generate(digits_model, tmp_path / "whole", tmp_path / "cache", count=5)
    counted: list[int] = []
    original: Callable[..., Any] = ServedGenerator.generate

    def broken(self: ServedGenerator, rows: Any) -> Any:
        counted.append(len(rows))
        if len(counted) == 2:
            raise KeyboardInterrupt
        return original(self, rows)

    monkeypatch.setattr(ServedGenerator, "generate", broken)
    with pytest.raises(KeyboardInterrupt):
        generate(digits_model, tmp_path / "out", tmp_path / "cache", count=5)
    assert not (tmp_path / "out").exists()
    assert generate(digits_model, tmp_path / "out", tmp_path / "cache", count=5) == whole == written(tmp_path / "out")
    assert counted == [2, 2, 2, 1], "the first two images were there"
    assert generate(digits_model, tmp_path / "out", tmp_path / "cache", count=3) == whole[:3], "another request replaces them"
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"classes": ["zebra"]}, "class is 'zebra'; give a name .zero, one, two. or a number below 3"),
        ({"truncation": 0.0}, "truncation is 0.0; give a number above 0"),
        ({"count": 0}, "--count is 0; give 1 or more"),
        ({"seed": 2**65}, "seed is .*; give"),
        ({"inputs": ["photo=x.png"]}, "no picture that this model takes; it takes\n--count N, --seed S\n--truncation PSI"),
    ],
)
def test_what_a_model_does_not_take_is_refused(asked: dict[str, Any], said: str, digits_model: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=said):
        generate(digits_model, tmp_path / "out", tmp_path / "cache", **asked)
    assert not list(tmp_path.glob("*out*")) and not list(tmp_path.glob(".*"))


def test_pictures_in_pictures_out(negative: Path, tmp_path: Path) -> None:
    """A folder stands for its pictures in order, cropped to a square in the middle and resized."""
    (tmp_path / "photos").mkdir()
    for number, (size, color) in enumerate([((8, 8), (0, 10, 20)), ((64, 32), (200, 100, 0))]):
        Image.new("RGB", size, color).save(tmp_path / "photos" / f"{number}.png")
    made = generate(negative, tmp_path / "out", tmp_path / "cache", inputs=[f"photo={tmp_path / 'photos'}"])
    assert made == written(tmp_path / "out") and len(made) == 2
    assert [one["photo"] for one in made] == [sha256_file(tmp_path / "photos" / f"{n}.png") for n in range(2)]
    for one, color in zip(made, ((255, 245, 235), (55, 155, 255)), strict=True):
        with Image.open(tmp_path / "out" / one["file"]) as image:
            assert image.size == (8, 8) and image.getpixel((3, 3)) == color
    for asked, said in (
        ({"inputs": [f"photo={tmp_path / 'photos'}"], "seed": 3}, "--seed: this model does not take that"),
        ({}, "this model needs --input photo=PATH"),
        ({"inputs": ["photo=nowhere"]}, "no pictures there"),
    ):
        with pytest.raises(RequestError, match=said):
            generate(negative, tmp_path / "other", tmp_path / "cache", **asked)  # type: ignore[arg-type]


def test_a_broken_picture_is_named(negative: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(RequestError, match=r"broken\.png: cannot be read as a picture"):
        generate(negative, tmp_path / "out", tmp_path / "cache", inputs=[f"photo={tmp_path / 'broken.png'}"])


def test_a_model_says_what_it_takes(digits_model: Path) -> None:
    assert takes(read_info(digits_model)) == "--count N, --seed S\n--truncation PSI\n--class, of zero, one, two"
