"""Sets of whole pictures: every size is kept, squares are read out of them, fields at a scale stay together."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from atelier.data.crops import Crops
from atelier.data.errors import DataError
from atelier.data.manifest import load_manifest
from atelier.data.packed import PackedDataset
from atelier.data.sampler import words
from tests.support.packing import Make, quietly, tree
from tests.support.parts_of_sets import divided, merged, whole

Encode = Callable[..., bytes]
SIZES = [(32, 32), (33, 70), (64, 64), (150, 40), (200, 199), (97, 98)]  # height, width
RESOLUTION = 32


def located(number: int, height: int, width: int) -> np.ndarray:
    """A picture whose pixels say where they are: row, column, number."""
    rows, columns = np.indices((height, width))
    return np.stack([rows, columns, np.full_like(rows, number)], axis=-1).astype(np.uint8)


@pytest.fixture(name="make")
def make_fixture(tmp_path: Path, data_settings: Make, encode: Encode) -> Make:
    """`make(field settings)`: pictures of SIZES, in two classes."""
    for number, size in enumerate(SIZES):
        path = tmp_path / "raw" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(located(number, *size)))

    def settings(**changes: Any) -> Any:
        values = {"source": "folder", "path": str(tmp_path / "raw"), "channels": 3, "resolution": RESOLUTION, "fit": "whole"}
        return data_settings(**{"holdout": 0.0, **values, **changes})

    return settings


def test_pictures_keep_their_size(make: Make, tmp_path: Path) -> None:
    manifest = quietly(make(), tmp_path / "packed")
    assert (manifest.format, manifest.count, manifest.whole) == (3, len(SIZES), True)
    assert sorted(size for shard in manifest.shards for size in shard.sizes) == sorted(f"{w}x{h}" for h, w in SIZES)
    data = PackedDataset(tmp_path / "packed")
    assert data.pictures == len(SIZES) and len(data) == sum((h // RESOLUTION) * (w // RESOLUTION) for h, w in SIZES)
    found = {int(data.picture(number)["image"][2, 0, 0]): data.picture(number)["image"] for number in range(data.pictures)}
    for number, size in enumerate(SIZES):
        assert (found[number].transpose(1, 2, 0) == located(number, *size)).all()


def test_other_readers_see_the_same(make: Make, tmp_path: Path) -> None:
    """A tar of Netpbm files and labels; the order is that of the hashes of size and pixels."""
    quietly(make(), tmp_path / "packed")
    data = PackedDataset(tmp_path / "packed")
    read: list[np.ndarray] = []
    with tarfile.open(tmp_path / "packed" / "train-00000.tar") as archive:
        members = archive.getmembers()
        for picture, label in zip(members[::2], members[1::2], strict=True):
            assert (picture.name, label.name) == (f"{len(read):09d}.ppm", f"{len(read):09d}.cls")
            image = Image.open(io.BytesIO(archive.extractfile(picture).read()))  # type: ignore[union-attr]
            assert int(archive.extractfile(label).read()) == int(np.asarray(image)[0, 0, 2]) % 2  # type: ignore[union-attr]
            read.append(np.asarray(image))
    assert len(read) == len(SIZES)
    for number, pixels in enumerate(read):
        assert (data.picture(number)["image"] == pixels.transpose(2, 0, 1)).all()


def test_records_are_windows_that_do_not_overlap(make: Make, tmp_path: Path) -> None:
    quietly(make(), tmp_path / "packed")
    data = PackedDataset(tmp_path / "packed")
    images, places = data.images(np.arange(len(data))), data.places(np.arange(len(data)))
    assert images.shape == (len(data), 3, RESOLUTION, RESOLUTION)
    for image, top, left in zip(images, places.tops, places.lefts, strict=True):
        number = int(image[2, 0, 0])
        assert (image.transpose(1, 2, 0) == located(number, *SIZES[number])[top : top + 32, left : left + 32]).all()
    corners = {(int(image[2, 0, 0]), int(image[0, 0, 0]) // 32, int(image[1, 0, 0]) // 32) for image in images}
    assert len(corners) == len(data)
    assert data.labels.tolist() == [int(image[2, 0, 0]) % 2 for image in images], "a picture's label for each of its records"
    for index in (-1, len(data)):
        with pytest.raises(IndexError):
            data.images(np.array([index]))


@pytest.mark.parametrize("cut", [Crops(24), Crops(0, flips=True), Crops(16, turns=True), Crops(32, flips=True, turns=True)])
def test_crops_are_parts_of_their_pictures(cut: Crops, make: Make, tmp_path: Path) -> None:
    quietly(make(), tmp_path / "packed")
    data, side = PackedDataset(tmp_path / "packed"), cut.side or RESOLUTION
    drawn = words(0, 0, len(data))
    crops = data.crops(np.arange(len(data)), drawn, cut)["image"]
    assert crops.shape == (len(data), 3, side, side)
    for crop in crops.transpose(0, 2, 3, 1).astype(int):
        number, top, left = int(crop[0, 0, 2]), crop[..., 0].min(), crop[..., 1].min()
        expected = located(number, *SIZES[number])[top : top + side, left : left + side]
        turned = [np.rot90(one, quarters) for one in (expected, expected[:, ::-1]) for quarters in range(4)]
        assert any((crop == one).all() for one in turned)
        assert cut.flips or cut.turns or (crop == expected).all()
    alone = data.crops(np.array([5]), drawn[5:6], cut)["image"]
    assert (alone[0] == crops[5]).all(), "whatever others are read"
    again = data.crops(np.arange(len(data)), words(1, 0, len(data)), cut)["image"]
    assert (again != crops).any(axis=(1, 2, 3)).sum() > len(data) // 2


def test_crops_that_do_not_fit_are_refused(make: Make, tmp_path: Path) -> None:
    quietly(make(), tmp_path / "packed")
    with pytest.raises(DataError, match=r"packed: crops of 48 px do not fit: its pictures have sides from 32 px on"):
        PackedDataset(tmp_path / "packed").check_crops(Crops(48))
    quietly(make(fit="crop"), tmp_path / "squares")
    with pytest.raises(
        DataError, match=r"squares: its images are squares already; pack whole pictures with data\.NAME\.fit: whole"
    ):
        PackedDataset(tmp_path / "squares").picture(0)


def test_small_pictures_are_rejected_by_name(make: Make, tmp_path: Path, encode: Encode) -> None:
    (tmp_path / "raw" / "a" / "low.png").write_bytes(encode(located(9, 31, 200)))
    with pytest.raises(DataError, match=r"a/low\.png: 200 x 31 has a side shorter than resolution = 32, which is cut out of it"):
        quietly(make(), tmp_path / "packed")
    manifest = quietly(make(max_rejected=1), tmp_path / "packed")
    assert [one.name for one in manifest.rejected] == ["a/low.png"] and manifest.count == len(SIZES)


def test_equal_pixels_in_other_rows_are_no_duplicates(make: Make, tmp_path: Path, encode: Encode) -> None:
    for name, size in (("one", (32, 64)), ("two", (64, 32)), ("three", (64, 32))):
        (tmp_path / "raw" / "a" / f"{name}.png").write_bytes(encode(np.full((*size, 3), 7, np.uint8)))
    manifest = quietly(make(), tmp_path / "packed")
    assert (manifest.count, manifest.duplicates) == (len(SIZES) + 2, 1)
    other = quietly(make(resolution=28), tmp_path / "other")
    assert manifest.content_hash != other.content_hash


def test_orientation_and_transparency_are_as_in_squares(make: Make, tmp_path: Path, encode: Encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    turned = tmp_path / "raw" / "a" / "turned.png"
    turned.write_bytes(encode(Image.new("RGBA", (40, 60), (255, 0, 0, 0)), exif=exif))
    manifest = quietly(make(background="#0a0b0c"), tmp_path / "packed")
    assert "60x40" in manifest.shards[0].sizes
    data = PackedDataset(tmp_path / "packed")
    found = [data.picture(n)["image"] for n in range(data.pictures) if data.picture(n)["image"].shape == (3, 40, 60)]
    assert (found[0] == np.array([10, 11, 12])[:, None, None]).all()


def test_the_split_is_by_picture(make: Make, tmp_path: Path) -> None:
    quietly(make(holdout=0.5), tmp_path / "packed")
    parts = [PackedDataset(tmp_path / "packed", split) for split in ("train", "test")]
    numbers = [set(part.images(np.arange(len(part)))[:, 2, 0, 0].tolist()) for part in parts]
    assert not numbers[0] & numbers[1] and numbers[0] | numbers[1] == set(range(len(SIZES))) and all(numbers)
    assert len(PackedDataset(tmp_path / "packed", "all")) == sum(map(len, parts))


def test_parts_merge_to_the_same_bytes(make: Make, tmp_path: Path) -> None:
    expected = whole(make(holdout=0.3), tmp_path / "whole")
    folders = divided(make(holdout=0.3), tmp_path, 4)
    assert merged(make(holdout=0.3), folders, tmp_path / "merged") == expected
    (folders[0] / "sizes").write_bytes(bytes(8))
    with pytest.raises(DataError, match=r"sizes: damaged, it is not what was written there; prepare part"):
        merged(make(holdout=0.3), folders, tmp_path / "merged")


def test_shards_have_at_most_their_size_or_one_picture(make: Make, tmp_path: Path, encode: Encode) -> None:
    random = np.random.default_rng(0)
    for number in range(6):
        size = (700, 900, 3) if number == 3 else (300, 400, 3)
        (tmp_path / "raw" / "a" / f"large{number}.png").write_bytes(encode(random.integers(0, 256, size, np.uint8)))
    manifest = quietly(make(shard_mib=1), tmp_path / "packed")
    assert len(manifest.shards) > 2 and sum(shard.count for shard in manifest.shards) == len(SIZES) + 6
    assert [shard.count for shard in manifest.shards if shard.bytes > 2**20] == [1]
    data = PackedDataset(tmp_path / "packed")
    assert sorted(data.picture(n)["image"].shape[1:] for n in range(data.pictures)).count((300, 400)) == 5
    assert tree(tmp_path / "packed") == whole(make(shard_mib=1), tmp_path / "again")


PAIR = {"input": {"from": "small", "scale": 2}, "target": {"from": "large"}}


@pytest.fixture(name="pairs")
def pairs_fixture(tmp_path: Path, data_settings: Make, encode: Encode) -> Make:
    """Pictures whose blocks of 2 x 2 pixels are those of a small one; some have an odd row or column more."""
    for number, (height, width) in enumerate(SIZES):
        small = located(number, height // 2 + 16, width // 2 + 16)
        large = np.pad(small.repeat(2, 0).repeat(2, 1), ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        for field, image in (("small", small), ("large", large)):
            path = tmp_path / "pairs" / field / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(image))

    def settings(**changes: Any) -> Any:
        values = {"source": "folder", "path": str(tmp_path / "pairs"), "channels": 3, "resolution": 64, "fit": "whole"}
        return data_settings(**{"holdout": 0.0, "fields": PAIR, **values, **changes})

    return settings


@pytest.mark.parametrize("cut", [Crops(), Crops(24, flips=True, turns=True)])
def test_fields_at_a_scale_stay_together(cut: Crops, pairs: Make, tmp_path: Path) -> None:
    manifest = quietly(pairs(), tmp_path / "packed")
    assert {name: field.scale for name, field in manifest.fields.items()} == {"input": 2, "target": 1}
    assert all(int(side) % 2 == 0 for size in manifest.shards[0].sizes for side in size.split("x")), "odd rows are cut off"
    data, every = PackedDataset(tmp_path / "packed"), np.arange(10)
    side = cut.side or 64
    for read, expected in (
        (data.read(every), 64),
        (data.crops(every, words(0, 0, 10), cut), side),
        (data.middles(every, cut), side),
    ):
        assert read["target"].shape == (10, 3, expected, expected)
        assert (read["input"].repeat(2, 2).repeat(2, 3) == read["target"]).all()
    assert data.picture(0)["input"].shape[1] * 2 == data.picture(0)["target"].shape[1]
    with pytest.raises(DataError, match="its fields need multiples of 2"):
        data.check_crops(Crops(25))


def test_fields_of_other_scales_are_rejected(pairs: Make, tmp_path: Path, encode: Encode) -> None:
    (tmp_path / "pairs" / "small" / "0.png").write_bytes(encode(located(0, 33, 32)))
    said = r"0\.png: input: 32 x 33, but its picture is 64 x 64, which at fields\.input\.scale 2 is 32 x 32\)"
    with pytest.raises(DataError, match=said):
        quietly(pairs(), tmp_path / "packed")


@pytest.mark.parametrize(
    ("scale", "side", "remedy"),
    [
        (None, 32, "which at fields.input.scale 1 is 64 x 64; 2 would fit"),
        (3, 32, "which at fields.input.scale 3 is 21 x 21; 2 would fit"),
        (2, 64, "which at fields.input.scale 2 is 32 x 32; 1 would fit"),
    ],
)
def test_a_scale_that_would_fit_is_named(
    scale: int | None, side: int, remedy: str, pairs: Make, tmp_path: Path, encode: Encode
) -> None:
    for part, own in (("small", side), ("large", 64)):
        (tmp_path / "pairs" / part / "0.png").write_bytes(encode(located(0, own, own)))
    fields = {"input": {"from": "small", "scale": scale}, "target": {"from": "large"}}
    with pytest.raises(DataError, match=re.escape(f"0.png: input: {side} x {side}, but its picture is 64 x 64, {remedy}")):
        quietly(pairs(fields=fields, resolution=48), tmp_path / "packed")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin": 2}, "fit: whole keeps pictures as they are, and margin 2 would frame them; set margin: 0"),
        ({"resolution": 96, "fit": "crop"}, "resolution 96 is for fit: whole; take 28 or a power of two"),
        ({"resolution": 100}, "resolution"),
        ({"fields": {"input": {"scale": 3}, "target": {}}}, "resolution 32 is no multiple of scale 3.*take 48, 96, 192, 384"),
        ({"fields": {"input": {"scale": 2}, "target": {}}, "fit": "pad"}, "scale is for fit: whole"),
        ({"fields": {"input": {}, "target": {"scale": 2}}}, "fields.target: the sizes of others are measured by it"),
        ({"fields": {"input": {"scale": True}, "target": {}}}, "should be a whole number"),
        ({"fields": {"input": {"kind": "map", "classes": {"a": 1}, "scale": 2}, "target": {}}}, "a map has the size of its"),
    ],
)
def test_what_whole_pictures_cannot_be(changes: dict[str, Any], message: str, make: Make) -> None:
    with pytest.raises(ValidationError, match=message):
        make(**changes)
    assert make(resolution=96, fields={"input": {"scale": 3}, "target": {}}).resolution == 96


def test_manifests_whose_sizes_do_not_fit(make: Make, tmp_path: Path) -> None:
    quietly(make(), tmp_path / "packed")
    path = tmp_path / "packed" / "manifest.json"
    values = json.loads(path.read_text())
    first = values["shards"][0]
    for sizes, message in (
        (first["sizes"][1:], rf"5 sizes of {len(SIZES)} pictures in format 3"),
        (["1x1", *first["sizes"][1:]], "but the manifest's sizes give others"),
        (["0x32", *first["sizes"][1:]], "shards.0.sizes.0"),
    ):
        path.write_text(json.dumps(values | {"shards": [first | {"sizes": sizes}]}))
        with pytest.raises(DataError, match=message):
            PackedDataset(tmp_path / "packed")
    path.write_text(json.dumps(values | {"resolution": 64}))
    with pytest.raises(DataError, match="sizes of less than 64 px"):
        PackedDataset(tmp_path / "packed")
    path.write_text(json.dumps(values | {"format": 1}))
    with pytest.raises(DataError, match="in format 1"):
        load_manifest(tmp_path / "packed")
