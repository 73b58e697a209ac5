"""A label map as an input: read from colors or indices, never guessed; drawn, shown and kept as every input is."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from atelier.io.label_maps import IGNORED, painted
from atelier.networks.inputs import LabelMap, Picture, Refusal, Takes, draw, in_order

FACE = LabelMap(classes=["hair", "skin", "sky"], colors=["#000000", "#ffcc99", "#0000ff"], resolution=8)
SKETCH = LabelMap(classes=["line", "paper"], colors=["#000000", "#ffffff"], resolution=8)
INDICES = np.random.default_rng(0).integers(0, 3, (8, 8), dtype=np.uint8)


def encoded(picture: Image.Image, format: str = "PNG") -> str:
    file = io.BytesIO()
    picture.save(file, format)
    return base64.b64encode(file.getvalue()).decode()


def test_read_from_colors_and_from_indices() -> None:
    palette = painted(INDICES, FACE.marks)
    plain = Image.fromarray(INDICES)
    strange = painted(INDICES, [0xFF0000, 0x00FF00, 0x00FFFF])
    for picture in (palette, palette.convert("RGB"), palette.convert("RGBA"), strange, plain):
        tensor, said = FACE.read(encoded(picture), [])
        assert tensor.dtype == torch.int64 and tensor.tolist() == INDICES.tolist() and said is None


def test_255_is_of_no_class() -> None:
    for picture in (
        Image.fromarray(np.where(INDICES, INDICES, IGNORED)),
        painted(np.where(INDICES, INDICES, IGNORED), FACE.marks),
    ):
        assert sorted(set(FACE.read(encoded(picture), []).tensor.flatten().tolist())) == [1, 2, IGNORED]


def test_what_can_be_read_twofold_is_refused() -> None:
    """All zeros are black, a line, in color, and so they are by index; for paper before line they would be either."""
    black = Image.new("L", (8, 8), 0)
    assert SKETCH.read(encoded(black), []).tensor.eq(0).all()
    turned = LabelMap(classes=["paper", "line"], colors=["#ffffff", "#000000"], resolution=8)
    with pytest.raises(Refusal, match="can be read as colors and as indices; give it in RGB, or with a palette of the classes'"):
        turned.read(encoded(black), [])
    assert turned.read(encoded(black.convert("RGB")), []).tensor.eq(1).all()
    assert turned.read(encoded(Image.fromarray(INDICES % 2 * 255)), []).tensor.tolist() == (1 - INDICES % 2).tolist()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (encoded(painted(INDICES, FACE.marks).resize((9, 8))), ", not of 9 by 8$"),
        (encoded(Image.new("RGB", (8, 8), "#123456")), "; it holds the color #123456, of no class"),
        (encoded(Image.new("L", (8, 8), 7)), "; it holds the value 7, of no class"),
        (encoded(painted(INDICES, FACE.marks).convert("RGB"), "JPEG"), "of no class: JPEG changes colors"),
        ("no base64", "^a PNG of 8 by 8 pixels in base64, in the colors of classes: hair #000000, skin #ffcc99, sky #0000ff$"),
        (encoded(painted(INDICES, FACE.marks))[:60], "^a PNG of 8 by 8 pixels"),
        (7, "^a PNG of 8 by 8 pixels"),
    ],
)
def test_what_is_no_map_is_refused(value: Any, said: str) -> None:
    with pytest.raises(Refusal, match=said):
        FACE.read(value, [])


def test_many_classes_are_not_all_named() -> None:
    many = LabelMap(classes=[f"c{n}" for n in range(20)], colors=[f"#0000{n:02x}" for n in range(20)], resolution=8)
    assert many.wants([]).endswith("c11 #00000b and 8 more")


def test_an_example_shows_every_class() -> None:
    for one in FACE.example([]):
        assert set(FACE.read(one, []).tensor.flatten().tolist()) == {0, 1, 2}
        assert Image.open(io.BytesIO(base64.b64decode(one))).mode == "P"


def test_drawn_by_a_seed_alone() -> None:
    takes: Takes = in_order({"map": FACE, "photo": Picture(channels=3, resolution=8)})
    assert list(takes) == ["photo", "map"] and not FACE.random
    first, again, other = (draw(takes, 5, seed)["map"] for seed in (0, 0, 1))
    assert first.dtype == torch.int64 and first.shape == (5, 8, 8) and torch.equal(first, again)
    assert not torch.equal(first, other) and set(first.flatten().tolist()) == {0, 1, 2}
    assert LabelMap(**{**FACE.model_dump(), "resolution": 28}).draw(2, torch.Generator()).shape == (2, 28, 28)


def test_it_survives_its_file() -> None:
    """generator.json sorts its keys, so that the order of classes is that of a list."""
    kept = json.loads(json.dumps({"map": FACE.model_dump(mode="json")}, sort_keys=True))
    assert TypeAdapter(Takes).validate_python(kept) == {"map": FACE}


@pytest.mark.parametrize(
    "changes", [{"colors": ["#000000"]}, {"colors": ["#000000"] * 3}, {"classes": []}, {"colors": ["#000000", "red", "#0000ff"]}]
)
def test_maps_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LabelMap(**{**FACE.model_dump(), **changes})
