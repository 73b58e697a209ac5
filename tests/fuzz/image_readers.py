"""What is fuzzed of images and of packed sets."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import struct
import zipfile
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from atelier.config.data import DataSettings
from atelier.config.settings import load
from atelier.data.errors import Rejected
from atelier.data.kept import kept
from atelier.data.pack import merge, pack, pack_part
from atelier.data.packed import PackedDataset
from atelier.data.process import Recipe
from atelier.data.shards import END
from atelier.data.sources import open_source
from atelier.data.work import process_chunk
from atelier.io.files import canonical_json, sha256_file
from tests.fuzz.mutations import Files
from tests.support import deep_pictures

ROOT = Path(__file__).resolve().parents[2]
RECIPE = Recipe(28, 1, "crop", 0, "box", "#000000", 8, 100_000)
COUNT = 6
TIFFS = ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "zstd", "lzma")
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("PNG", {}), "jpeg": ("JPEG", {}), "progressive.jpeg": ("JPEG", {"progressive": True}), "webp": ("WEBP", {}),
    "lossless.webp": ("WEBP", {"lossless": True}), "gif": ("GIF", {}), "bmp": ("BMP", {}), "ppm": ("PPM", {}),
    "jp2": ("JPEG2000", {}), "avif": ("AVIF", {}), "plain.tiff": ("TIFF", {}), "ico": ("ICO", {}), "tga": ("TGA", {}),
    "mpo": ("MPO", {}), **{f"{name}.tiff": ("TIFF", {"compression": name}) for name in TIFFS},
}  # fmt: skip


class Target(ABC):
    """A kind of input. Its folder is its own, for what it makes at the start."""

    names: tuple[str, ...]  # an error has to hold one of them

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # of a process that died
        folder.mkdir(parents=True)
        self.folder = folder
        self.inputs: list[Files] = self.build()

    @abstractmethod
    def build(self) -> list[Files]:
        """Inputs that are whole."""

    @abstractmethod
    def read(self, case: Path) -> None:
        """Reads an input as Atelier does. A file named blob, from the guided part, stands for the one that `guided` names."""

    def guided(self, files: Files) -> str:
        """The file of an input that the guided part makes up."""
        return min(files)


def images(count: int = COUNT, side: int = 28) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def encoded(image: np.ndarray, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, form, **options)
    return file.getvalue()


def files_of(folder: Path) -> Files:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def settings(**changes: Any) -> DataSettings:
    made = {
        "resolution": 28,
        "channels": 1,
        "max_rejected": 10**6,
        "max_pixels": 100_000,
        "min_side": 8,
        "holdout": 0.0,
        **changes,
    }
    return DataSettings.model_validate({**_of_the_repository(), **made})


@cache
def _of_the_repository() -> dict[str, Any]:
    return load(ROOT / "params.yaml").data["base"].model_dump()


def read_source(**changes: Any) -> None:
    """Every image of a source, as packing processes them."""
    source = open_source(settings(**changes), RECIPE)
    for number, chunk in enumerate(source.chunks(3, range(source.count))):
        done = process_chunk(source, RECIPE, chunk)
        for name, reason in done.rejected:
            assert name and reason and "0x7f" not in reason and "Traceback" not in reason, (name, reason)
        if number > 50:  # a header may state billions
            break


class Pictures(Target):
    names = ("images",)

    def build(self) -> list[Files]:
        picture = images(1, 40)[0]
        return [{f"images/{name}": encoded(picture, form, **options)} for name, (form, options) in FORMATS.items()]

    def read(self, case: Path) -> None:
        read_source(source="folder", path=str(case / "images"), labels=False)


class MeasuredPictures(Pictures):
    def read(self, case: Path) -> None:
        from atelier.data.image_files import open_images

        (case / "images" / "whole.png").write_bytes(encoded(images(1, 40)[0]))
        opened = open_images(case / "images", progress=False)
        opened.images(np.arange(len(opened)))


class KeptPictures(Pictures):
    """Pictures in their own size, also of 16 bits."""

    def build(self) -> list[Files]:
        deep = np.random.default_rng(0).integers(0, 65536, (20, 30, 4)).astype(np.uint16)
        made = {f"{channels}.png": deep_pictures.png(deep[..., :channels]) for channels in (1, 2, 3, 4)}
        made |= {f"{order}{packed}.tiff": deep_pictures.tiff(deep, order, packed) for order in "<>" for packed in (False, True)}
        return [*super().build(), *({f"images/{name}": content} for name, content in made.items())]

    def read(self, case: Path) -> None:
        for file in (case / "images").iterdir():
            try:
                kept(file.read_bytes(), RECIPE)
            except Rejected as reason:
                assert str(reason) and "0x7f" not in str(reason) and "Traceback" not in str(reason), (file, reason)


class Zip(Target):
    names = ("images.zip",)

    def build(self) -> list[Files]:
        made = []
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", method) as archive:
                for number, image in enumerate(images()):
                    archive.writestr(f"class {number % 2}/é{number}.png", encoded(image))
                archive.writestr("zeros.png", bytes(100_000))
            made.append({"images.zip": file.getvalue()})
        return made

    def read(self, case: Path) -> None:
        read_source(source="zip", path=str(case / "images.zip"))


def idx(values: np.ndarray) -> bytes:
    return struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


class Idx(Target):
    names = ("-idx", "IDX")

    def build(self) -> list[Files]:
        gray, labels = idx(images()[..., 0]), idx(np.arange(COUNT, dtype=np.uint8))
        return [
            {"train-images-idx3-ubyte": gray, "train-labels-idx1-ubyte": labels},
            {"train-images-idx3-ubyte.gz": gzip.compress(gray), "train-labels-idx1-ubyte.gz": gzip.compress(labels)},
            {"train-images-idx4-ubyte": idx(images()), "train-labels-idx1-ubyte": labels},
        ]

    def read(self, case: Path) -> None:
        if (case / "blob").exists():  # of the guided part
            (case / "blob").rename(case / "train-images-idx3-ubyte")
        labels = any("labels" in file.name for file in case.iterdir())
        read_source(source="idx", path=str(case), labels=labels)


class Parquet(Target):
    names = (".parquet",)

    def build(self) -> list[Files]:
        import pyarrow
        import pyarrow.parquet

        bytes_of = [encoded(image) for image in images()]
        labels = pyarrow.array([n % 3 for n in range(COUNT)])
        known = json.dumps({"info": {"features": {"label": {"names": ["a", "b", "c"]}}}})
        made = []
        for column in (bytes_of, [{"bytes": content, "path": "a.png"} for content in bytes_of]):
            for compression in ("snappy", "zstd", "none"):
                table = pyarrow.table({"image": column, "label": labels})
                file = io.BytesIO()
                table = table.replace_schema_metadata({"huggingface": known})
                pyarrow.parquet.write_table(table, file, compression=compression, row_group_size=4)
                made.append({"set.parquet": file.getvalue()})
        return made

    def read(self, case: Path) -> None:
        read_source(source="parquet", path=str(case / "set.parquet"))


class PackedSet(Target):
    """A packed set. Damage of a shard is the business of Shards: here its hash finds it."""

    names = ("manifest.json", ".tar", "case")

    def build(self) -> list[Files]:
        file = self.folder / "images.zip"
        with zipfile.ZipFile(file, "w") as archive:
            for number, image in enumerate(images()):
                archive.writestr(f"class {number % 2}/{number}.png", encoded(image))
        made = []
        for changes in ({}, {"labels": False, "channels": 3, "holdout": 0.5}, {"channels": 3, "fit": "whole"}):
            pack(settings(source="zip", path=str(file), **changes), self.folder / "packed", workers=1, progress=False)
            made.append(files_of(self.folder / "packed"))
        return made

    def read(self, case: Path) -> None:
        if (case / "blob").exists():  # of the guided part
            (case / "blob").rename(case / "manifest.json")
        packed = PackedDataset(case, "all")
        packed.images(np.arange(len(packed)))
        assert packed.labels.shape == (len(packed),)
        packed.manifest.class_shares("all")


class Shards(PackedSet):
    """Shards whose hashes the manifest has been given: what a set looks like whose writer was wrong."""

    def read(self, case: Path) -> None:
        manifest = json.loads(self.inputs[0]["manifest.json"])
        shard = manifest["shards"][0]
        if (case / "blob").exists():
            (case / "blob").rename(case / shard["name"])
        if not (case / shard["name"]).exists():
            return
        content = (case / shard["name"]).read_bytes()
        (case / shard["name"]).write_bytes(content or END)
        shard["bytes"], shard["sha256"] = len(content or END), sha256_file(case / shard["name"])
        (case / "manifest.json").write_text(canonical_json(manifest))
        super().read(case)

    def build(self) -> list[Files]:
        return super().build()[:1]

    def guided(self, files: Files) -> str:
        return min(name for name in files if name.endswith(".tar"))


class Parts(Target):
    names = ("part.json", "digests", "labels", "sizes", "pixels", "part", "case")
    fit = "crop"

    def build(self) -> list[Files]:
        file = self.folder / "images.zip"
        with zipfile.ZipFile(file, "w") as archive:
            for number, image in enumerate(images()):
                archive.writestr(f"class {number % 2}/{number}.png", encoded(image))
        self.settings = settings(source="zip", path=str(file), fit=self.fit)
        for part in (1, 2):
            pack_part(self.settings, part, 2, self.folder / "parts" / str(part), workers=1, progress=False)
        return [files_of(self.folder / "parts")]

    def read(self, case: Path) -> None:
        merge(self.settings, [case / "1", case / "2"], self.folder / "merged", progress=False)


class WholeParts(Parts):
    fit = "whole"
