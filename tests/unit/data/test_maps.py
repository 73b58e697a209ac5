"""Label maps: colors or values are classes, exactly; they are resampled without blending and packed beside their pictures."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from atelier.config.data import DataSettings, FieldSettings
from atelier.data.errors import DataError
from atelier.data.fields import legend_of, record_fields
from atelier.data.packed import PackedDataset
from atelier.io.label_maps import IGNORED, Legend, MapError, distinct, painted
from atelier.training.batches import Batches
from pipelines.form import natural
from tests.support.floated import floated
from tests.support.packing import Make, quietly, tree
from tests.support.parts_of_sets import divided, merged

Encode = Callable[..., bytes]
COLORS = {"sky": "#0000FF", "hair": "#000000", "skin": "#ffcc99"}
LEGEND = Legend(("hair", "skin", "sky"), (0x000000, 0xFFCC99, 0x0000FF))
VALUES = Legend(("sky", "hair", "skin"), (0, 3, 300), indexed=True, ignored=255)
COUNT = 12


def drawn(indices: np.ndarray) -> Image.Image:
    """Class indices as a picture in RGB."""
    return painted(indices, LEGEND.marks).convert("RGB")


def some(seed: int = 0, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, (side, side), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colors_are_classes(mode: str) -> None:
    """Also with a palette in an order of its own, in which values mean nothing."""
    indices = some()
    picture = drawn(indices).convert(mode) if mode != "P" else painted(2 - indices, LEGEND.marks[::-1])
    assert (LEGEND.read(picture) == indices).all() and LEGEND.read(picture).dtype == np.uint8


@pytest.mark.parametrize("mode", ["1", "L"])
def test_a_sketch_is_a_map(mode: str) -> None:
    legend = Legend(("line", "paper"), (0x000000, 0xFFFFFF))
    indices = some() % 2
    assert (legend.read(Image.fromarray(indices * 255).convert(mode)) == indices).all()


def test_values_are_classes() -> None:
    values = np.array([[0, 3], [300, 255]], np.uint16)
    assert VALUES.read(Image.fromarray(values)).tolist() == [[0, 1], [2, IGNORED]]
    for mode in ("L", "P"):
        picture = Image.frombytes(mode, (2, 2), bytes([0, 3, 3, 255]))
        assert VALUES.read(picture).tolist() == [[0, 1], [1, IGNORED]]


@pytest.mark.parametrize(
    ("legend", "picture", "said"),
    [
        (
            LEGEND,
            Image.new("RGB", (4, 4), "#010203"),
            "^holds the color #010203, of no class; name its class, or draw it",
        ),
        (LEGEND, Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)), "colors #000102, #030405, #060708 and 13 more"),
        (
            LEGEND,
            Image.new("L", (4, 4), 2),
            r"of no class; if its values are indices, say so \(classes: {hair: 0, ...}\)",
        ),
        (LEGEND, Image.new("RGBA", (4, 4), "#ffcc9980"), "has transparent pixels, which are of no class; fill them"),
        (LEGEND, Image.new("CMYK", (4, 4)), "pixels of mode CMYK are no colors of classes; save it as PNG"),
        (VALUES, Image.new("L", (4, 4), 7), "^holds the value 7, of no class; name its class"),
        (VALUES, Image.new("RGB", (4, 4)), "pixels of mode RGB are no indices; save it in gray or with a palette"),
    ],
)
def test_what_is_of_no_class_is_named(legend: Legend, picture: Image.Image, said: str) -> None:
    with pytest.raises(MapError, match=said):
        legend.read(picture)


def test_jpeg_is_blamed(encode: Encode) -> None:
    with pytest.raises(MapError, match="of no class: JPEG changes colors; draw it anew and save it as PNG"):
        LEGEND.read(Image.open(io.BytesIO(encode(drawn(some()), "JPEG"))))


def test_the_commonest_strange_color_comes_first() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[0, :2], pixels[1, 0] = 9, 5
    with pytest.raises(MapError, match="colors #090909, #050505, of no class"):
        LEGEND.read(Image.fromarray(pixels))


def test_colors_to_tell_classes_apart() -> None:
    colors = distinct(255)
    assert len(set(colors)) == 255 and distinct(9) == colors[:9]
    assert not [color for color in colors if color >> 16 == color >> 8 & 255 == color & 255]


@pytest.mark.parametrize(
    ("classes", "ignore", "names", "marks", "ignored"),
    [
        (COLORS, None, LEGEND.names, LEGEND.marks, None),
        (COLORS, "sky", ("hair", "skin"), (0x000000, 0xFFCC99), 0x0000FF),
        (COLORS, "#FFFFFF", LEGEND.names, LEGEND.marks, 0xFFFFFF),
        ({"road": 7, "void": 0, "car": 2}, "void", ("car", "road"), (2, 7), 0),
        ({"road": 7, "car": 2}, 255, ("car", "road"), (2, 7), 255),
    ],
)
def test_classes_have_an_order_of_their_own(classes: Any, ignore: Any, names: Any, marks: Any, ignored: int | None) -> None:
    """Whatever order params.yaml has, since Kubeflow's parameters keep none."""
    for given in (classes, dict(reversed(classes.items()))):
        legend = legend_of(FieldSettings(kind="map", classes=given, ignore=ignore))
        assert (legend.names, legend.marks, legend.ignored) == (names, marks, ignored)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "map"}, "a map has 1 to 255 classes beside what it ignores; name each with its colour or value"),
        ({"kind": "map", "classes": {"a": "#000000"}, "ignore": "a"}, "1 to 255 classes beside what it ignores"),
        ({"kind": "map", "classes": COLORS, "channels": 1}, "no channels; take channels out"),
        ({"kind": "map", "classes": {"a": "#000000", "b": 1}}, "give all as #RRGGBB, or all as numbers"),
        ({"kind": "map", "classes": {"a": "#000000"}, "ignore": 255}, "give all as #RRGGBB, or all as numbers"),
        ({"kind": "map", "classes": {"a": "red"}}, "give all as #RRGGBB"),
        ({"kind": "map", "classes": {"a": 70000}}, "values are from 0 to 65535"),
        ({"kind": "map", "classes": {"a": "#aaaaaa", "b": "#AAAAAA"}}, "give each a colour or value of its own"),
        ({"kind": "map", "classes": {"a": 1}, "ignore": 1}, "give each a colour or value of its own"),
        ({"kind": "map", "classes": {"a": None}}, "a has no value, since YAML reads what follows # as a comment; quote it"),
        ({"classes": COLORS}, "classes and ignore are for kind: map"),
        ({"ignore": 255}, "classes and ignore are for kind: map"),
    ],
)
def test_classes_that_cannot_be(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        FieldSettings.model_validate(values)


# ---- packed beside their pictures


@pytest.fixture(name="raw")
def raw_fixture(tmp_path: Path, encode: Encode, pictures: Callable[..., list[np.ndarray]]) -> Path:
    """12 pictures of 64 px in whose first channel is the class of each pixel, and the maps."""
    for number, picture in enumerate(pictures(COUNT, shape=(64, 64, 3))):
        indices = some(number, 64)
        picture[..., 0] = indices
        for field, image in (("photo", picture), ("map", painted(indices, LEGEND.marks))):
            path = tmp_path / "raw" / field / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(image))
    return tmp_path / "raw"


@pytest.fixture(name="make")
def make_fixture(raw: Path, data_settings: Make) -> Callable[..., DataSettings]:
    def make(field: dict[str, Any] | None = None, **changes: Any) -> DataSettings:
        fields = {"input": {"from": "map", "kind": "map", "classes": COLORS} | (field or {}), "target": {"from": "photo"}}
        values = {"source": "folder", "path": str(raw), "channels": 3, "resolution": 64, "labels": False, "holdout": 0.3}
        return data_settings(**{**values, "fields": fields, **changes})

    return make


def test_maps_beside_their_pictures(make: Make, tmp_path: Path) -> None:
    manifest = quietly(make(), tmp_path / "packed")
    packed = PackedDataset(tmp_path / "packed", "all")
    read = packed.read(np.arange(COUNT))
    assert read["input"].shape == (COUNT, 1, 64, 64) and (read["input"][:, 0] == read["target"][:, 0]).all()
    field = packed.fields["input"]
    assert (field.kind, field.classes, field.colors) == ("map", ["hair", "skin", "sky"], ["#000000", "#ffcc99", "#0000ff"])
    with tarfile.open(tmp_path / "packed" / "train-00000.tar") as archive:
        assert archive.getnames()[:2] == ["000000000.input.pgm", "000000000.target.ppm"]
    assert merged(make(), divided(make(), tmp_path / "parts", 2), tmp_path / "merged") == tree(tmp_path / "packed")
    renamed = quietly(make({"classes": {"a": "#000000", "b": "#ffcc99", "c": "#0000ff"}}), tmp_path / "renamed")
    assert renamed.content_hash != manifest.content_hash, "what an index means is a part of the content"


def test_a_batch_has_indices(make: Make, tmp_path: Path) -> None:
    quietly(make(), tmp_path / "packed")
    batch = Batches({"data": PackedDataset(tmp_path / "packed")}, 0, torch.device("cpu")).batch(0, 0, 4, 4)
    assert batch["input"].dtype == torch.int64 and batch["input"].shape == (4, 64, 64)
    assert torch.equal(batch["input"], (batch["target"][:, 0] + 1).mul(127.5).round().long())


def test_classes_are_never_blended(make: Make, raw: Path, tmp_path: Path) -> None:
    quietly(make(resolution=32, filter="lanczos"), tmp_path / "packed")
    packed = PackedDataset(tmp_path / "packed", "all")
    found = {image.tobytes() for image in packed.read(np.arange(COUNT))["input"]}
    maps = (Image.fromarray(some(number, 64)) for number in range(COUNT))
    assert found == {one.resize((32, 32), Image.Resampling.NEAREST).tobytes() for one in maps}


@pytest.mark.parametrize(("background", "beside"), [("#0000ff", 2), ("#777777", IGNORED)])
def test_what_is_padded(background: str, beside: int, make: Make, tmp_path: Path) -> None:
    """It is of the class that has the background's color, else of none."""
    quietly(make(margin=16, background=background), tmp_path / "packed")
    maps = PackedDataset(tmp_path / "packed", "all").read(np.arange(COUNT))["input"][:, 0]
    assert (maps[:, :16] == beside).all() and (maps[:, 16:48, 16:48] < 3).all()


def test_what_is_ignored(make: Make, tmp_path: Path) -> None:
    quietly(make({"ignore": "hair"}), tmp_path / "packed")
    packed = PackedDataset(tmp_path / "packed", "all")
    read = packed.read(np.arange(COUNT))
    expected = np.array([IGNORED, 0, 1], np.uint8)[read["target"][:, 0]]
    assert (read["input"][:, 0] == expected).all() and packed.fields["input"].classes == ["skin", "sky"]


def test_maps_of_values(make: Make, raw: Path, tmp_path: Path, encode: Encode) -> None:
    for number in range(COUNT):
        (raw / "map" / f"{number}.png").write_bytes(encode(some(number, 64) * 10))
    quietly(make({"classes": {"sky": 20, "hair": 0, "skin": 10}}), tmp_path / "packed")
    packed = PackedDataset(tmp_path / "packed", "all")
    read = packed.read(np.arange(COUNT))
    assert (read["input"][:, 0] == read["target"][:, 0]).all()
    assert packed.fields["input"].classes == ["hair", "skin", "sky"] and len(set(packed.fields["input"].colors)) == 3


def test_a_strange_color_and_another_size_are_refused(make: Make, raw: Path, tmp_path: Path, encode: Encode) -> None:
    (raw / "map/3.png").write_bytes(encode(drawn(some(3, 32))))
    (raw / "map/5.png").write_bytes(encode(Image.new("RGB", (64, 64), "#123456")))
    with pytest.raises(DataError) as caught:
        quietly(make(), tmp_path / "packed")
    message = str(caught.value)
    assert "3.png: input: 32 x 32, but its picture is 64 x 64; draw the map in that size" in message
    assert "5.png: input: holds the color #123456, of no class; name its class, or draw it" in message


def test_a_map_is_not_imitated(make: Make) -> None:
    field = {"kind": "map", "classes": COLORS}
    with pytest.raises(ValidationError, match="the field that is imitated is a map, and only images are imitated"):
        make(fields={"input": {}, "target": field})


def test_settings_survive_kubeflow(make: Make) -> None:
    """Which hands every number over as a float, and keeps no order."""
    settings = make({"classes": {"sky": 20, "hair": 0, "skin": 10}, "ignore": 255})
    arrived = natural(DataSettings, floated(json.loads(json.dumps(settings.model_dump(mode="json"), sort_keys=True))))
    again = DataSettings.model_validate(arrived)
    assert again == settings and record_fields(again) == record_fields(settings)
