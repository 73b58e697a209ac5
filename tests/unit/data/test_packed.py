"""A packed dataset: any WebDataset reader reads it, images come by index, what is missing or damaged is named."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atelier.config.data import DataSettings
from atelier.data.errors import DataError
from atelier.data.manifest import Manifest, load_manifest
from atelier.data.pack import pack
from atelier.data.packed import PackedDataset
from atelier.io.files import sha256_file
from tests.support.reading import write_idx

Make = Callable[..., DataSettings]
CLASSES = 12
COUNT = 60


@pytest.fixture(scope="module", params=[(1, 28), (3, 64)], ids=["gray", "color"])
def folder(
    request: Any, tmp_path_factory: pytest.TempPathFactory, data_settings: Make, encode: Callable[..., bytes], pictures: Any
) -> Path:
    channels, resolution = request.param
    root = tmp_path_factory.mktemp("packed")
    for number, picture in enumerate(pictures(COUNT)):
        path = root / "raw" / str(number % CLASSES) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(picture))
    settings = data_settings(
        source="folder", path=str(root / "raw"), channels=channels, resolution=resolution, holdout=0.2, shard_mib=1
    )
    pack(settings, root / "packed", progress=False)
    return root / "packed"


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def samples(folder: Path, split: str) -> list[tuple[np.ndarray, int]]:
    """What WebDataset makes of the shards: members grouped by key, .cls read by int, images by Pillow."""
    found: list[tuple[np.ndarray, int]] = []
    for shard in sorted(folder.glob(f"{split}-*.tar")):
        with tarfile.open(shard) as archive:
            members = archive.getmembers()
            assert len(members) % 2 == 0
            for picture, label in zip(members[::2], members[1::2], strict=True):
                assert picture.name.split(".")[0] == label.name.split(".")[0] == f"{len(found):09d}"
                for member in (picture, label):
                    assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
                    assert member.mode == 0o644 and member.isreg()
                image = Image.open(io.BytesIO(archive.extractfile(picture).read()))  # type: ignore[union-attr]
                array = np.asarray(image).reshape(*image.size, -1).transpose(2, 0, 1)
                found.append((array, int(archive.extractfile(label).read())))  # type: ignore[union-attr]
    return found


@pytest.mark.parametrize("split", ["train", "test"])
def test_other_readers_see_the_same(folder: Path, split: str) -> None:
    packed = PackedDataset(folder, split)
    images, labels = zip(*samples(folder, split), strict=True)
    assert len(images) == len(packed) and (np.stack(images) == packed.images(np.arange(len(packed)))).all()
    assert list(labels) == packed.labels.tolist()


def test_gnu_tar_lists_it_without_complaint(folder: Path) -> None:
    import subprocess

    done = subprocess.run(["tar", "-tf", folder / "train-00000.tar"], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "000000000.cls" and not done.stderr


def test_all_is_train_then_test(folder: Path) -> None:
    train, test, whole = (PackedDataset(folder, split) for split in ("train", "test", "all"))
    for one in (train, test, whole):
        shares = {name: float(np.mean(one.labels == label)) for label, name in enumerate(one.classes)}
        assert shares and one.manifest.class_shares(one.split) == shares
    assert len(whole) == len(train) + len(test) == COUNT
    assert (whole.labels == np.concatenate([train.labels, test.labels])).all()
    order = np.random.default_rng(0).permutation(COUNT)
    parts = np.concatenate([train.images(np.arange(len(train))), test.images(np.arange(len(test)))])
    assert (whole.images(order) == parts[order]).all()


def test_images_by_index(folder: Path) -> None:
    packed = PackedDataset(folder)
    shape = (packed.channels, packed.resolution, packed.resolution)
    assert packed.images(np.array([3, 3, 0])).shape == (3, *shape) and packed.images(np.array([], int)).shape == (0, *shape)
    twice = packed.images(np.array([3, 3]))
    assert twice.dtype == np.uint8 and (twice[0] == twice[1]).all()
    twice[:] = 0
    assert packed.images(np.array([3])).any(), "what is handed out is a copy"
    for index in (-1, len(packed)):
        with pytest.raises(IndexError):
            packed.images(np.array([0, index]))


def test_samples_are_in_the_order_of_their_hashes(folder: Path) -> None:
    packed = PackedDataset(folder)
    images = packed.images(np.arange(len(packed))).transpose(0, 2, 3, 1)
    hashes = [hashlib.sha256(image.tobytes()).digest() for image in images]
    assert hashes == sorted(hashes)


def test_the_content_hash_is_what_the_manifest_says(folder: Path) -> None:
    """sha256 over [resolution, channels, classes] and of each split its name, size, image hashes and labels as int32."""
    whole = PackedDataset(folder, "all")
    total = hashlib.sha256(json.dumps([whole.resolution, whole.channels, whole.classes], separators=(",", ":")).encode())
    for split in ("train", "test"):
        packed = PackedDataset(folder, split)
        total.update(f"\n{split} {len(packed)}\n".encode())
        for image in packed.images(np.arange(len(packed))).transpose(0, 2, 3, 1):
            total.update(hashlib.sha256(image.tobytes()).digest())
        total.update(struct.pack(f"<{len(packed)}i", *packed.labels))
    assert total.hexdigest() == whole.content_hash


def damage(path: Path, place: int, value: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(value)


def test_one_changed_bit_is_found(copy: Path) -> None:
    shard = copy / "train-00000.tar"
    damage(shard, 3000, bytes([shard.read_bytes()[3000] ^ 1]))
    PackedDataset(copy, "test")
    for split in ("train", "all"):
        with pytest.raises(DataError, match=r"train-00000\.tar: damaged, its sha256 is not the manifest's; run `dvc repro`"):
            PackedDataset(copy, split)


def test_missing_and_truncated_shards(copy: Path) -> None:
    shard = copy / "train-00000.tar"
    content = shard.read_bytes()
    shard.write_bytes(content[:-512])
    with pytest.raises(DataError, match=rf"train-00000\.tar: {len(content) - 512} bytes instead of {len(content)}, truncated"):
        PackedDataset(copy)
    shard.unlink()
    with pytest.raises(DataError, match=r"train-00000\.tar: cannot be read \(No such file.*dvc repro"):
        PackedDataset(copy)


def test_a_damaged_label(copy: Path) -> None:
    shard, manifest = copy / "train-00000.tar", load_manifest(copy)
    damage(shard, manifest.layout.label, b"99")
    shards = [part.model_dump() for part in manifest.shards]
    edit(copy, shards=[part | ({"sha256": sha256_file(shard)} if part["name"] == shard.name else {}) for part in shards])
    with pytest.raises(DataError, match=r"train-00000\.tar: damaged, it holds labels outside its 12 classes"):
        assert PackedDataset(copy).labels is None


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_manifests_that_cannot_be_used(copy: Path) -> None:
    values = json.loads((copy / "manifest.json").read_text())
    first, rest = values["shards"][0], COUNT - values["shards"][0]["count"]
    for changes, message in (
        ({"format": 5}, "format 5, but this version reads format 1 or 2 or 3 or 4"),
        ({"format": 4}, "format 4 with "),
        ({"format": 2}, "manifest.json: at the top: .*format 2 with 0 fields"),
        ({"count": "many"}, "manifest.json: count: .*damaged or edited"),
        ({"extra": 1}, "manifest.json: extra: "),
        ({"resolution": 256}, "layout does not fit"),
        ({"shards": values["shards"][1:]}, rf"the shards hold {rest} images of split 'all', the manifest {COUNT}"),
        ({"shards": [first | {"name": "../train-00000.tar"}]}, r"manifest\.json: shards\.0\.name: "),
        ({"shards": [first | {"split": "valid"}]}, r"manifest\.json: shards\.0\.split: "),
        ({"shards": [first | {"count": 0}]}, r"manifest\.json: shards\.0\.count: "),
        ({"splits": {}}, r"manifest\.json: splits: .*none instead of train, test"),
        (
            {"splits": values["splits"] | {"valid": values["splits"]["test"]}},
            r"splits: .*, valid instead of train, test",
        ),
    ):
        edit(copy, **changes)
        with pytest.raises(DataError, match=message):
            PackedDataset(copy, "all")
        (copy / "manifest.json").write_text(json.dumps(values))
    (copy / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        load_manifest(copy)
    (copy / "manifest.json").unlink()
    with pytest.raises(DataError, match="is no packed dataset; run `dvc repro`"):
        load_manifest(copy)


def test_a_manifest_survives_its_file(folder: Path) -> None:
    manifest = load_manifest(folder)
    assert Manifest.model_validate(manifest.model_dump()) == manifest


def test_splits_that_do_not_exist_or_are_empty(tmp_path: Path, data_settings: Make) -> None:
    pack(data_settings(source="digits-1797", holdout=0.0), tmp_path / "packed", progress=False)
    assert len(PackedDataset(tmp_path / "packed", "all")) == 1797
    with pytest.raises(DataError, match=r"'test' is empty; raise data\.NAME\.holdout"):
        PackedDataset(tmp_path / "packed", "test")
    with pytest.raises(DataError, match="no split 'valid'; choose train, test or all"):
        PackedDataset(tmp_path / "packed", "valid")


def test_labels_do_not_keep_the_shards_in_memory(tmp_path: Path, data_settings: Callable[..., DataSettings]) -> None:
    """Each lies on a page of its own: the pages of 16 MB of records would all stay mapped."""

    def mapped() -> int:
        found = re.search(r"RssFile:\s*(\d+) kB", Path("/proc/self/status").read_text())
        assert found
        return int(found[1]) * 1024

    (tmp_path / "raw").mkdir()
    write_idx(tmp_path / "raw" / "images-idx3-ubyte", np.random.default_rng(0).integers(0, 256, (3000, 64, 64), dtype=np.uint8))
    write_idx(tmp_path / "raw" / "labels-idx1-ubyte", np.arange(3000, dtype=np.int64).astype(np.uint8) % 10)
    pack(data_settings(source="idx", path=str(tmp_path / "raw"), resolution=64), tmp_path / "packed", 1, progress=False)
    data = PackedDataset(tmp_path / "packed")
    before = mapped()
    assert len(data.labels) == len(data) > 2500
    assert mapped() - before < 4 * 2**20
