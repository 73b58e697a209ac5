"""IDX files: images and labels in pairs, and files that are not what their header states."""

from __future__ import annotations

import gzip
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from atelier.data.sources import open_source
from tests.support.reading import RECIPE, Make, Pictures, array, read, refused, write_idx


@pytest.fixture
def idx(tmp_path: Path, pictures: Pictures) -> Path:
    for part, count in (("train", 5), ("t10k", 2)):
        suffix = ".gz" if part == "train" else ""
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{suffix}", np.stack(pictures(count, shape=(28, 28))))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{suffix}", np.arange(count, dtype=np.uint8) + 7)
    return tmp_path


def test_idx_takes_train_and_test_gzipped_or_not(idx: Path, data_settings: Make, pictures: Pictures) -> None:
    items = read(data_settings(source="idx", path=str(idx)))
    assert [item.label for item in items] == ["7", "8", "7", "8", "9", "10", "11"]
    assert items[3].name == "train-images-idx3-ubyte.gz#1"
    assert (np.stack([array(item) for item in items[2:]]) == np.stack(pictures(5, shape=(28, 28)))).all()
    assert [item.label for item in read(data_settings(source="idx", path=str(idx / "t10k-images-idx3-ubyte")))] == ["7", "8"]


def test_idx_plain_and_gzipped_twins_are_one(idx: Path, data_settings: Make) -> None:
    images = idx / "train-images-idx3-ubyte.gz"
    images.with_suffix("").write_bytes(gzip.decompress(images.read_bytes()))
    assert len(read(data_settings(source="idx", path=str(idx)))) == 7


def test_idx_in_color(tmp_path: Path, data_settings: Make, pictures: Pictures) -> None:
    write_idx(tmp_path / "images-idx4-ubyte", np.stack(pictures(2)))
    items = read(data_settings(source="idx", path=str(tmp_path), labels=False))
    assert (array(items[1]) == pictures(2)[1]).all() and items[1].label is None


def test_idx_problems(idx: Path, data_settings: Make, pictures: Pictures) -> None:
    settings = data_settings(source="idx", path=str(idx))
    refused(data_settings(source="idx", path=str(idx / "no")), "data.path", "holds no IDX images")
    images, labels = idx / "train-images-idx3-ubyte.gz", idx / "train-labels-idx1-ubyte.gz"
    whole = images.read_bytes()
    images.write_bytes(whole[:-100])
    refused(settings, images.name)
    images.write_bytes(whole[:200] + b"\0" * 40 + whole[240:])
    refused(settings, images.name, "damaged gzip")
    images.write_bytes(gzip.compress(gzip.decompress(whole)[:-1]))
    refused(settings, images.name, "ends too early")
    images.write_bytes(gzip.compress(gzip.decompress(whole) + b"x"))
    refused(settings, images.name, "goes on after the 5 images")
    images.write_bytes(b"GIF89a")
    refused(settings, images.name, "not an IDX file")
    write_idx(images, np.zeros((5, 28), np.uint8))
    refused(settings, images.name, "holds no images")
    write_idx(images, np.zeros((5, 0, 28), np.uint8))
    refused(settings, images.name, "holds no images")
    images.write_bytes(whole)
    named = labels.read_bytes()
    labels.write_bytes(gzip.compress(gzip.decompress(named) + b"x"))
    refused(settings, labels.name, "goes on after the 5 labels")
    labels.write_bytes(gzip.compress(gzip.decompress(named)[:-1]))
    refused(settings, labels.name, "ends too early")
    write_idx(labels, np.zeros(4, np.uint8))
    refused(settings, labels.name, "(4,) for 5 images")
    labels.unlink()
    refused(settings, images.name, "train-labels-idx1-ubyte[.gz] are missing", "data.labels: false")
    assert {item.label for item in read(data_settings(source="idx", path=str(idx), labels=False))} == {None}


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2**32 - 1, 2**32 - 1, 2**32 - 1, 3), "images of 4294967295 x 4294967295, more pixels than data.max_pixels = 10000"),
        ((1, 101, 100), "images of 100 x 101, more pixels than data.max_pixels"),
        ((2**32 - 1, 100, 100), "ends too early"),
    ],
)
def test_a_header_that_states_too_much(
    shape: tuple[int, ...], message: str, gzipped: bool, tmp_path: Path, data_settings: Make
) -> None:
    """Nothing of a stated size is read or reserved before it is known to be bearable."""
    path = tmp_path / f"images-idx3-ubyte{'.gz' if gzipped else ''}"
    content = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + bytes(100)
    path.write_bytes(gzip.compress(content) if gzipped else content)
    refused(data_settings(source="idx", path=str(tmp_path), labels=False), path.name, message)


def test_large_images_travel_in_small_chunks(tmp_path: Path, data_settings: Make) -> None:
    write_idx(tmp_path / "images-idx4-ubyte", np.zeros((40, 1000, 1000, 3), np.uint8))
    source = open_source(data_settings(source="idx", path=str(tmp_path), labels=False), replace(RECIPE, max_pixels=10**6))
    sizes = [len(chunk.images) for chunk in source.chunks(256, range(source.count))]
    assert sizes == [5] * 8, "16 MiB hold five of 3 MB"


def test_a_folder_that_is_named_like_a_file(idx: Path, data_settings: Make) -> None:
    (idx / "more-images").mkdir()
    assert len(read(data_settings(source="idx", path=str(idx)))) == 7


def test_fashion_mnist_of_debian(data_settings: Make) -> None:
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        pytest.skip("Debian's dataset-fashion-mnist is not installed")
    source = open_source(data_settings(source="idx", path=str(folder)), RECIPE)
    first = next(source.chunks(16, range(source.count)))
    assert source.count == 70_000 and first.images.shape == (16, 28, 28)
    assert first.labels[:10] == ["9", "2", "1", "1", "6", "1", "4", "6", "5", "7"], "the published order of its test labels"
