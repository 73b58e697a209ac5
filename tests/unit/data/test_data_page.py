"""The worked examples of data/README.md: what they name is packed as the page says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from atelier.config.data import DataSettings
from atelier.data.crops import Grid
from atelier.data.errors import DataError
from atelier.data.packed import PackedDataset
from atelier.io.label_maps import IGNORED
from tests.support.packing import Make, quietly
from tests.support.small import ROOT

TONES = ("", "-1F3FB", "-1F3FC", "-1F3FD", "-1F3FE", "-1F3FF")


@pytest.fixture(name="example")
def example_fixture(data_settings: Make, tmp_path: Path) -> Callable[..., DataSettings]:
    """`example(name)`: a set of the page, below a folder of the test's own, with what the page leaves to other sections."""
    page = (
        (ROOT / "data" / "README.md")
        .read_text(encoding="utf-8")
        .partition("## Pairs and label maps")[2]
        .partition("\n## Colors")[0]
    )
    blocks = [block.splitlines() for block in page.split("\n\n") if block.startswith("    data:")]
    sets: dict[str, Any] = {}
    for lines in blocks:
        sets |= YAML(typ="safe").load("\n".join(lines))["data"]

    def make(name: str) -> DataSettings:
        return data_settings(labels=False, holdout=0.5, **sets[name] | {"path": str(tmp_path / sets[name]["path"])})

    return make


def test_drawings_and_the_same_in_color(example: Make, tmp_path: Path, pictures: Callable[..., list[np.ndarray]]) -> None:
    settings = example("sketch")
    drawn = iter(pictures(60, shape=(64, 64, 3)))
    for face in range(10):
        for tone in TONES:
            picture = next(drawn)
            picture[..., :2] = face
            for field in ("line", "color"):
                path = Path(settings.path) / field / f"{0x1F460 + face:X}{tone}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(path)
    manifest = quietly(settings, tmp_path / "packed")
    assert manifest.count == 60 and {name: field.channels for name, field in manifest.fields.items()} == {"input": 1, "target": 3}
    train, test = (PackedDataset(tmp_path / "packed", split) for split in ("train", "test"))
    faces = [set(part.images(np.arange(len(part)))[:, 0].flatten().tolist()) for part in (train, test)]
    assert not faces[0] & faces[1] and faces[0] | faces[1] == set(range(10)), "all of a family on one side"
    (Path(settings.path) / "line" / "1F469.png").unlink()
    with pytest.raises(DataError, match=r"1F469\.png: no file of that name in line, beside color/1F469\.png"):
        quietly(settings, tmp_path / "other")


def test_label_maps_and_portraits(example: Make, tmp_path: Path) -> None:
    settings = example("avatars")
    colors = ("#ffffff", "#5199e4", "#6a4e35", "#f2d3b1", "#000000")
    for number in range(5):
        picture = Image.new("RGB", (64, 64), colors[number])
        for field in ("map", "photo"):
            path = Path(settings.path) / field / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
    manifest = quietly(settings, tmp_path / "packed")
    assert manifest.fields["input"].classes == ["background", "clothes", "hair", "skin"]
    read = PackedDataset(tmp_path / "packed", "all").read(np.arange(5))
    places = {tuple(target[:, 0, 0].tolist()): map[0, 0, 0] for map, target in zip(read["input"], read["target"], strict=True)}
    said = {tuple(bytes.fromhex(color[1:])): index for color, index in zip(colors, [0, 1, 2, 3, IGNORED], strict=True)}
    assert places == said


def test_photos_of_any_size(example: Make, tmp_path: Path, encode: Callable[..., bytes]) -> None:
    settings = example("photos")
    assert Grid(np.array([[2880, 5120], [150, 200]]), settings.resolution).counts().tolist() == [880, 1]
    random = np.random.default_rng(0)
    for number, size in enumerate(((130, 300), (128, 128), (127, 400))):
        path = Path(settings.path) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(random.integers(0, 256, (*size, 3), np.uint8)))
    with pytest.raises(DataError, match=r"2\.png: 400 x 127 has a side shorter than resolution = 128"):
        quietly(settings, tmp_path / "packed")
    (Path(settings.path) / "2.png").unlink()
    assert quietly(settings, tmp_path / "packed").count == 2 and len(PackedDataset(tmp_path / "packed", "all")) == 2 + 1
