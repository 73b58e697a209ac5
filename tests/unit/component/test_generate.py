"""One command makes images with any model: what it takes is what can be said."""

from __future__ import annotations

import base64
import io
import json
import zlib
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
from torch.nn import functional as F

from atelier.io.files import sha256_file
from atelier.io.label_maps import painted
from atelier.models.given import PictureError
from atelier.models.model import GeneratorInfo, Gives, load_generator, read_info, sample
from atelier.models.pyfunc import ServedGenerator, columns, input_example, signature
from atelier.networks.base import Generator, Translator
from atelier.networks.inputs import LabelMap, Picture, Takes
from atelier.networks.layers import ImageShape
from components import generate as component
from components.generate import MANIFEST, generate
from components.request import RequestError, takes
from tests.support import deep_pictures, icc
from tests.support.checkpoints import write_checkpoint
from tests.support.colors import P3
from tests.support.small_translators import model as model_settings

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


class Enlarger(Translator):
    """Means of 3 x 3 pixels, each as a square of `scale` pixels a side."""

    def __init__(self, scale: int) -> None:
        takes: Takes = {"photo": Picture(channels=3, resolution=8)}
        super().__init__(model_settings("cyclegan").family, ImageShape(8 * scale, 3, 0), takes)
        self.scale, self.multiple, self.restores, self.sha256 = scale, 1, True, "e" * 64
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, noise: Tensor | None = None, **inputs: Tensor) -> Tensor:
        image = inputs["photo"]
        means = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)
        return means.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3) * self.weight


def loaded(generator: Negative | Painter | Enlarger, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of a task that makes pictures of pictures, already loaded."""
    served = ServedGenerator.__new__(ServedGenerator)
    served.generator, served.device = generator, "cpu"
    served.info = GeneratorInfo(
        task="toys", product="toy", model={}, takes=generator.takes,
        gives=Gives(resolution=generator.shape.resolution, channels=generator.shape.channels),
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
        ({"inputs": ["photo=x.png"]}, "nothing that this model takes; it takes\n--count N, --seed S\n--truncation PSI"),
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
    painted(np.zeros((8, 8), np.uint8), (0x010203,)).save(tmp_path / "map.png")
    said = (
        "--image and --size own: this model takes no single picture of any size; leave them out, for it takes\n--input map=PATH"
    )
    for asked in ({"inputs": [f"map={tmp_path / 'map.png'}"], "size": "own"}, {"image": str(tmp_path / "map.png")}):
        with pytest.raises(RequestError, match=said):
            generate(painter, tmp_path / "out", tmp_path / "cache", **asked)  # type: ignore[arg-type]


def smoothed(values: np.ndarray, scale: int) -> np.ndarray:
    """What Enlarger makes of [H, W, C], in float64."""
    padded = np.pad(values.astype(float), ((1, 1), (1, 1), (0, 0)), mode="edge")
    height, width = values.shape[:2]
    means = sum(padded[y : y + height, x : x + width] for y in range(3) for x in range(3)) / 9
    return np.asarray(means).repeat(scale, 0).repeat(scale, 1)


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "16 bits"])
def test_pictures_in_their_own_size(deep: bool, scale: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In tiles; bits, transparency and profile are kept, the EXIF's turn is done."""
    model = loaded(Enlarger(scale), monkeypatch)
    most, dtype = (65535, np.uint16) if deep else (255, np.uint8)
    random = np.random.default_rng(0)
    given = random.integers(0, most + 1, (40, 90, 4)).astype(dtype)
    given[:, :30, 3], given[:, 30:60, 3] = most, 0
    (tmp_path / "photos").mkdir()
    if deep:
        (tmp_path / "photos" / "a.png").write_bytes(
            deep_pictures.png(given, deep_pictures.profile_chunk(P3), deep_pictures.orientation_chunk(6))
        )
    else:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(given).save(tmp_path / "photos" / "a.png", exif=exif, icc_profile=P3)
    made = generate(model, tmp_path / "out", tmp_path / "cache", image=str(tmp_path / "photos"), tile=16)
    assert [one["photo"] for one in written(tmp_path / "out")] == [sha256_file(tmp_path / "photos" / "a.png")]
    found, chunks = deep_pictures.read_png((tmp_path / "out" / made[0]["file"]).read_bytes())
    assert found.dtype == dtype and found.shape == (90 * scale, 40 * scale, 4)
    assert b"eXIf" not in chunks and json.loads(chunks[b"tEXt"].partition(b"\0")[2]) == {"weights": "e" * 64}
    assert zlib.decompress(chunks[b"iCCP"].partition(b"\0\0")[2]) == P3
    upright = np.rot90(given, -1)
    opaque = found[: 28 * scale, :, :3]  # what no transparent pixel is near
    assert abs(opaque - smoothed(upright[..., :3], scale)[: 28 * scale]).max() <= 1
    if scale == 1:
        assert (found[..., 3] == upright[..., 3]).all()
    else:
        assert abs(found[..., 3] - smoothed(upright[..., 3:], scale)[..., 0]).max() <= 1
        assert (found[: 16 * scale, :, 3] == most).all() and not found[32 * scale : 58 * scale, :, 3].any()


def test_textures_that_tile_become_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In tiles, with their transparency; beyond an edge lies the opposite one."""
    model, random = loaded(Enlarger(2), monkeypatch), np.random.default_rng(0)
    given = random.integers(0, 256, (40, 24, 4), dtype=np.uint8)
    given[..., 3] |= 1  # nothing is hidden
    Image.fromarray(given).save(tmp_path / "wall.png")
    generate(model, tmp_path / "out", tmp_path / "cache", image=str(tmp_path / "wall.png"), tile=16, edges="wrap")
    with Image.open(tmp_path / "out" / "000000.png") as image:
        found = np.asarray(image)
    expected = smoothed(np.pad(given, ((1, 1), (1, 1), (0, 0)), mode="wrap"), 2)[2:-2, 2:-2]
    assert abs(found - expected).max() <= 1 < abs(found - smoothed(given, 2)).max()


def test_what_has_no_end_cannot_wrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Image.new("RGB", (20, 30)).save(tmp_path / "photo.png")
    generator = Enlarger(1)
    monkeypatch.setattr(generator, "forward", lambda photo: photo - photo.mean(dim=(2, 3), keepdim=True))
    with pytest.raises(RequestError, match="--edges wrap: this model looks at whole pictures"):
        generate(loaded(generator, monkeypatch), tmp_path / "out", tmp_path, image=str(tmp_path / "photo.png"), edges="wrap")


def test_hidden_colors_do_not_shine_through(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = loaded(Enlarger(2), monkeypatch)
    given = np.zeros((40, 40, 4), np.uint8)
    given[:, :21] = 200, 100, 50, 255
    Image.fromarray(given).save(tmp_path / "icon.png")
    generate(model, tmp_path / "out", tmp_path / "cache", image=str(tmp_path / "icon.png"), tile=16)
    found = np.asarray(Image.open(tmp_path / "out" / "000000.png"))
    visible = found[found[..., 3] > 0]
    assert abs(visible[:, :3].astype(int) - (200, 100, 50)).max() <= 1 and len(visible) == 80 * 44


def test_what_does_not_restore_sees_pictures_as_in_its_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    generator = Enlarger(1)
    generator.restores = False
    model = loaded(generator, monkeypatch)
    given = np.zeros((20, 40, 4), np.uint16)
    given[:, :20] = 0x8080, 0x4040, 0x2020, 65535
    (tmp_path / "icon.png").write_bytes(deep_pictures.png(given, deep_pictures.profile_chunk(P3)))
    generate(model, tmp_path / "out", tmp_path / "cache", image=str(tmp_path / "icon.png"))
    with Image.open(tmp_path / "out" / "000000.png") as image:
        assert image.mode == "RGB" and "icc_profile" not in image.info
        found = np.asarray(image)
    assert abs(found[:, :19] - icc.as_srgb(np.array([128, 64, 32]), "Display P3")).max() <= 2
    assert (found[:, 21:] == 255).all(), "the background of a model that does not say which"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"image": "photo.png", "tile": 8}, "--tile is 8; give 16 or more"),
        ({"inputs": ["photo=photo.png"], "tile": 64}, "--tile: pictures of the trained size go through whole; add --size own"),
        (
            {"inputs": ["photo=photo.png"], "edges": "wrap"},
            "--edges: pictures of the trained size go through whole; add --size own",
        ),
        ({"image": "nowhere"}, "nowhere: no pictures there"),
        ({"image": "broken.png"}, r"broken\.png: cannot be read as a picture"),
    ],
)
def test_what_pictures_in_their_own_size_cannot_be(
    asked: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = loaded(Enlarger(2), monkeypatch)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (20, 30)).save("photo.png")
    Path("broken.png").write_bytes(b"no picture")
    with pytest.raises((RequestError, PictureError), match=said):
        generate(model, tmp_path / "out", tmp_path / "cache", **asked)


def test_a_broken_picture_is_named(negative: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"broken\.png: cannot be read as a picture"):
        generate(negative, tmp_path / "out", tmp_path / "cache", inputs=[f"photo={tmp_path / 'broken.png'}"])


def test_a_model_says_what_it_takes(digits_model: Path) -> None:
    assert takes(read_info(digits_model)) == "--count N, --seed S\n--truncation PSI\n--class, of zero, one, two"
