"""torchvision's sets, read from files as its downloads leave them; CIFAR without running its pickles."""

from __future__ import annotations

import pickle
import pickletools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atelier.data.errors import DataError, Rejected
from atelier.data.process import process
from atelier.data.sources.cifar import load_cifar, unpickle
from tests.support.reading import RECIPE, Encode, Make, Pictures, array, read, refused, write_idx


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


def test_torchvision_sets_that_decode_themselves(tmp_path: Path, data_settings: Make, encode: Encode) -> None:
    """A broken image is rejected by name, and the camera's orientation is kept for processing to apply."""
    exif = Image.Exif()
    exif[274] = 6
    scene = np.zeros((16, 16, 3), np.uint8)
    scene[:8] = 255
    turned = encode(np.ascontiguousarray(np.rot90(scene)), "JPEG", quality=95, exif=exif)
    contents = {"1": turned, "2": turned[:-20], "3": b"a letter", "4": encode(np.zeros((101, 100, 3), np.uint8), "JPEG")}
    cars = tmp_path / "caltech256" / "256_ObjectCategories" / "001.car"
    pets = tmp_path / "oxford-iiit-pet"
    for folder in (cars, pets / "images", pets / "annotations"):
        folder.mkdir(parents=True)
    for name, content in contents.items():
        (cars / f"001_000{name}.jpg").write_bytes(content)
        (pets / "images" / f"Sphynx_{name}.jpg").write_bytes(content)
    for split in ("trainval", "test"):
        (pets / "annotations" / f"{split}.txt").write_text("".join(f"Sphynx_{name} 1 1 1\n" for name in contents))
    for kind, label in (("Caltech256", "001.car"), ("OxfordIIITPet", "Sphynx")):
        whole, half, letter, huge = read(data_settings(source=f"torchvision:{kind}", path=str(tmp_path)))[:4]
        assert isinstance(whole.content, Image.Image) and whole.label == label
        pixels = process(whole.content, replace(RECIPE, resolution=16)).pixels
        assert abs(np.frombuffer(pixels, np.uint8).reshape(16, 16).astype(int) - scene[..., 0]).max() < 25
        assert half.name == "0#1" and str(half.content).startswith("broken image: "), half
        assert str(letter.content).startswith("not an image of a known format")
        assert isinstance(huge.content, Rejected) and "max_pixels = 10000" in str(huge.content), "before it is decoded"


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
