"""Images as files, for the tests of packing."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atelier.config.data import DataSettings
from tests.support.reading import Encode, Make, Pictures, write_idx


@pytest.fixture
def raw(tmp_path: Path, encode: Callable[..., bytes], pictures: Callable[..., list[np.ndarray]]) -> Path:
    """30 images in 3 classes as PNG."""
    for number, picture in enumerate(pictures(30)):
        path = tmp_path / "raw" / "abc"[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(picture))
    return tmp_path / "raw"


@pytest.fixture
def opened(raw: Path, tmp_path: Path, data_settings: Make, encode: Encode, pictures: Pictures) -> Callable[[str], DataSettings]:
    """`opened(kind)`: the settings of a small source of that kind."""

    def make(kind: str) -> DataSettings:
        place = raw if kind == "folder" else tmp_path / "raw.zip" if kind == "zip" else tmp_path / kind.replace(":", "-")
        if kind == "zip":
            with zipfile.ZipFile(place, "w") as archive:
                for file in raw.rglob("*.png"):
                    archive.write(file, file.relative_to(raw))
        elif kind == "idx":
            place.mkdir()
            for part, count, suffix in (("train", 11, ".gz"), ("t10k", 6, "")):
                write_idx(place / f"{part}-images-idx3-ubyte{suffix}", np.stack(pictures(count, shape=(28, 28))))
                write_idx(place / f"{part}-labels-idx1-ubyte{suffix}", np.arange(count, dtype=np.uint8) % 3)
        elif kind == "parquet":
            place.mkdir()
            for name, count in (("a", 12), ("b", 1), ("c", 5)):
                images = [encode(picture) for picture in pictures(count, seed=count)]
                table = pa.table({"image": images, "label": [number % 3 for number in range(count)]})
                pq.write_table(table, place / f"{name}.parquet", row_group_size=5)
        elif kind in ("webdataset", "lmdb"):
            place.mkdir()
            for name, count in (("a", 12), ("b", 1), ("c", 5)):
                keyed = {f"{number:05d}": encode(drawn) for number, drawn in enumerate(pictures(count, seed=count))}
                if kind == "lmdb":
                    with lmdb.open(str(place / name), map_size=2**24) as database, database.begin(write=True) as transaction:
                        for key, picture in keyed.items():
                            transaction.put(key.encode(), picture)
                    continue
                with tarfile.open(place / f"{name}.tar", "w") as tar:
                    for key, picture in keyed.items():
                        for suffix, body in (("png", picture), ("cls", b"%d" % (int(key) % 3))):
                            member = tarfile.TarInfo(f"{key}.{suffix}")
                            member.size = len(body)
                            tar.addfile(member, io.BytesIO(body))
        elif kind.startswith("torchvision"):
            for part, count in (("train", 9), ("t10k", 4)):
                (place / "MNIST" / "raw").mkdir(parents=True, exist_ok=True)
                write_idx(place / "MNIST" / "raw" / f"{part}-images-idx3-ubyte", np.stack(pictures(count, shape=(28, 28))))
                write_idx(place / "MNIST" / "raw" / f"{part}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 3)
        return data_settings(source=kind, path=str(place), holdout=0.4)

    return make
