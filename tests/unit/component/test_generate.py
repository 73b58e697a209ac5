"""One command makes images with any model: what it takes is what can be said."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from mlflow.exceptions import MlflowException
from PIL import Image
from torch import Tensor

from atelier.io.files import sha256_file
from atelier.io.label_maps import painted
from atelier.models.given import PictureError
from atelier.models.model import GeneratorInfo, Gives, load_generator, read_info, sample
from atelier.models.pyfunc import ServedGenerator, columns, input_example, signature
from atelier.networks.base import Generator
from atelier.networks.inputs import LabelMap, Picture, Takes
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
        return {"photo": Picture(channels=3, resolution=8, background="#0a141e")}

    def __init__(self) -> None:
        super().__init__()
        self.shape, self.sha256 = ImageShape(8, 3, 0), "n" * 64

    def forward(self, photo: Tensor) -> Tensor:
        return -photo


class Painter(Generator):
    """Gives the index of each pixel of a label map as a gray."""

    @property
    def takes(self) -> Takes:
        return {"map": LabelMap(classes=["hair", "skin"], colors=["#010203", "#ffcc99"], resolution=8)}

    def __init__(self) -> None:
        super().__init__()
        self.shape, self.sha256 = ImageShape(8, 1, 0), "p" * 64

    def forward(self, map: Tensor) -> Tensor:
        return map[:, None] / 127.5 - 1


def loaded(generator: Negative | Painter, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of a task that makes pictures of pictures, already loaded."""
    served = ServedGenerator.__new__(ServedGenerator)
    served.generator, served.device = generator, "cpu"
    served.info = GeneratorInfo(
        task="toys", product="toy", model={}, takes=generator.takes, gives=Gives(resolution=8, channels=generator.shape.channels),
        classes=[], images_seen=0, step=0, seed=0, data={}, settings={}, code={}, run_key="", metric={}, parent=None,
    )  # fmt: skip
    served.columns = list(generator.takes)
    monkeypatch.setattr(component, "_served", lambda folder, device: served)
    return Path("toy")


@pytest.fixture
def negative(monkeypatch: pytest.MonkeyPatch) -> Path:
    return loaded(Negative(), monkeypatch)


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> Path:
    return loaded(Painter(), monkeypatch)


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
        ({"inputs": ["photo=nowhere"]}, "nowhere: no pictures there; give a file"),
    ):
        with pytest.raises((RequestError, PictureError), match=said):
            generate(negative, tmp_path / "other", tmp_path / "cache", **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGB"])
def test_what_is_transparent_lies_on_the_background_of_the_training(mode: str, negative: Path, tmp_path: Path) -> None:
    """Whether a command or the served model reads it."""
    picture = Image.new("RGBA", (8, 8), (90, 90, 90, 0))
    picture.paste((90, 90, 90, 255), (0, 0, 4, 8))
    file = io.BytesIO()
    if mode == "RGB":  # with a color that is transparent
        picture = Image.new("RGB", (8, 8), (200, 0, 0))
        picture.paste((90, 90, 90), (0, 0, 4, 8))
    picture.convert(mode).save(file, "PNG", **({"transparency": (200, 0, 0)} if mode == "RGB" else {}))
    (tmp_path / "seen.png").write_bytes(file.getvalue())
    (made,) = generate(negative, tmp_path / "out", tmp_path / "cache", inputs=[f"photo={tmp_path / 'seen.png'}"])
    served: ServedGenerator = component._served(negative, "cpu")
    given = base64.b64encode(file.getvalue()).decode()
    (answer,) = served.predict(pandas.DataFrame({"photo": [given]}))
    with Image.open(tmp_path / "out" / made["file"]) as image:
        for pixels in (np.asarray(image), answer):
            assert (pixels[:, :4] == 255 - 90).all() and (pixels[:, 4:] == (245, 235, 225)).all()


def test_models_that_say_no_background_have_a_white_one() -> None:
    file = io.BytesIO()
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(file, "PNG")
    kind = Picture.model_validate_json('{"kind": "picture", "channels": 1, "resolution": 2}')
    assert kind.read(base64.b64encode(file.getvalue()).decode(), []).tensor.tolist() == [[[1.0, 1.0], [1.0, 1.0]]]


def test_label_maps_in_pictures_out(painter: Path, tmp_path: Path) -> None:
    """Cropped and resized as those that train, without blending; 255 is of no class."""
    indices = np.array([[0, 1], [1, 255]], np.uint8).repeat(16, 0).repeat(16, 1)
    (tmp_path / "maps").mkdir()
    painted(indices % 255, (0x010203, 0xFFCC99)).resize((32, 32)).save(tmp_path / "maps" / "0.png")
    Image.fromarray(np.pad(indices, ((0, 0), (8, 8)))).save(tmp_path / "maps" / "1.png")
    made = generate(painter, tmp_path / "out", tmp_path / "cache", inputs=[f"map={tmp_path / 'maps'}"])
    assert made == written(tmp_path / "out") and len(made) == 2
    for one, last in zip(made, (0, 255), strict=True):
        pixels = np.asarray(Image.open(tmp_path / "out" / one["file"]))
        assert pixels[::4, ::4].tolist() == [[0, 1], [1, last]] and set(pixels.flatten().tolist()) == {0, 1, last}
    Image.new("RGB", (8, 8), "#123456").save(tmp_path / "strange.png")
    with pytest.raises(PictureError, match=r"strange\.png: cannot be read as a label map \(holds the color #123456, of no class"):
        generate(painter, tmp_path / "other", tmp_path / "cache", inputs=[f"map={tmp_path / 'strange.png'}"])
    with pytest.raises(RequestError, match="--input map=PATH: label maps of hair #010203, skin #ffcc99, cropped to a square"):
        generate(painter, tmp_path / "other", tmp_path / "cache")


def test_a_served_model_takes_label_maps(painter: Path) -> None:
    """Its columns, its example and its refusals follow from what it takes."""
    served: ServedGenerator = component._served(painter, "cpu")
    example = input_example(served.info)
    assert list(example) == columns(served.info) == signature(served.info).inputs.input_names() == ["map"]
    images = served.predict(example)
    assert images.shape == (2, 8, 8, 1) and (images[..., 0] == np.arange(8) // 4).all()
    with pytest.raises(MlflowException, match=r"row 0: map is .x.; give a PNG of 8 by 8 pixels in base64, in the colors of"):
        served.predict(pandas.DataFrame({"map": ["x"]}))
    with pytest.raises(MlflowException, match="row 1: map is missing; give a PNG of 8 by 8"):
        served.predict(pandas.DataFrame({"map": [example["map"][0], None]}))


def test_a_model_of_one_size_keeps_no_other(painter: Path, tmp_path: Path) -> None:
    with pytest.raises(
        RequestError, match="--size own: this model works in one size; leave it out, for it takes\n--input map=PATH"
    ):
        painted(np.zeros((8, 8), np.uint8), (0x010203,)).save(tmp_path / "map.png")
        generate(painter, tmp_path / "out", tmp_path / "cache", inputs=[f"map={tmp_path / 'map.png'}"], size="own")


def test_a_broken_picture_is_named(negative: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"broken\.png: cannot be read as a picture"):
        generate(negative, tmp_path / "out", tmp_path / "cache", inputs=[f"photo={tmp_path / 'broken.png'}"])


def test_a_model_says_what_it_takes(digits_model: Path) -> None:
    assert takes(read_info(digits_model)) == "--count N, --seed S\n--truncation PSI\n--class, of zero, one, two"
