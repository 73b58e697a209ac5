"""What is fuzzed: whole inputs of each kind, the code of Atelier that reads them, and what its errors have to name.

A new kind is a class with `build`, which makes the inputs, and `read`; and a line in TARGETS (and in that of __main__).
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import shutil
import struct
import sys
import zipfile
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_from_bytes

import numpy as np
from PIL import Image

from atelier.data.pack import merge, pack, pack_part
from atelier.data.packed import PackedDataset
from atelier.data.process import Recipe
from atelier.data.shards import END
from atelier.data.sources import open_source
from atelier.data.work import process_chunk
from atelier.files import canonical_json, sha256_file
from atelier.settings import DataSettings, load
from mutations import Files

ROOT = Path(__file__).resolve().parents[2]
PARAMS = (ROOT / "params.yaml").read_text(encoding="utf-8")
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
    return load(ROOT / "params.yaml").data.model_dump()


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
        from atelier.metrics.image_files import open_images

        (case / "images" / "whole.png").write_bytes(encoded(images(1, 40)[0]))
        opened = open_images(case / "images", progress=False)
        opened.images(np.arange(len(opened)))


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
        grey, labels = idx(images()[..., 0]), idx(np.arange(COUNT, dtype=np.uint8))
        return [
            {"train-images-idx3-ubyte": grey, "train-labels-idx1-ubyte": labels},
            {"train-images-idx3-ubyte.gz": gzip.compress(grey), "train-labels-idx1-ubyte.gz": gzip.compress(labels)},
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
        for changes in ({}, {"labels": False, "channels": 3, "holdout": 0.5}):
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
    names = ("part.json", "digests", "labels", "pixels", "part", "case")

    def build(self) -> list[Files]:
        file = self.folder / "images.zip"
        with zipfile.ZipFile(file, "w") as archive:
            for number, image in enumerate(images()):
                archive.writestr(f"class {number % 2}/{number}.png", encoded(image))
        self.settings = settings(source="zip", path=str(file))
        for part in (1, 2):
            pack_part(self.settings, part, 2, self.folder / "parts" / str(part), workers=1, progress=False)
        return [files_of(self.folder / "parts")]

    def read(self, case: Path) -> None:
        merge(self.settings, [case / "1", case / "2"], self.folder / "merged", progress=False)


def checkpoint(folder: Path, family: str = "mlp") -> Path:
    """A checkpoint folder with all its files, of a small network."""
    from safetensors.torch import load_file, save_file

    sys.path.append(str(ROOT / "tests"))
    import small_models
    from atelier.generator import WEIGHTS, read_info, write_info
    from atelier.training.checkpoint import PLAYERS

    small_models.make_checkpoint(folder, family)
    save_file({f"generator.{name}": value for name, value in load_file(folder / WEIGHTS).items()}, folder / PLAYERS)
    write_info(folder, read_info(folder))
    (folder / "history.json").write_text(canonical_json({"points": [], "evaluations": []}))
    return folder


class Checkpoint(Target):
    names = ("generator.json", "generator.safetensors", "players.safetensors", "history.json")

    def build(self) -> list[Files]:
        made = []
        for family in ("mlp", "dcgan", "stylegan2"):
            whole = files_of(checkpoint(self.folder / family, family))
            info = json.loads(whole["generator.json"])
            info["weights"] = {}  # of before hashes were kept: damage gets as far as the readers
            made += [whole, {**whole, "generator.json": canonical_json(info).encode()}]
        return made

    def read(self, case: Path) -> None:
        from atelier.generator import load_generator, read_weights, sample
        from atelier.report.card import model_card
        from atelier.training.checkpoint import PLAYERS, Start

        generator = load_generator(case)
        next(iter(sample(generator, 2, seed=0)))
        read_weights(Start(case).folder / PLAYERS)
        model_card(case, Registry.evaluation(), Registry.packed(self.folder), "digits")


class History(Target):
    names = ("history.json",)

    def build(self) -> list[Files]:
        self.checkpoint = checkpoint(self.folder / "model")
        identity = dict.fromkeys(("metric", "extractor", "weights", "resize", "sampling", "reference", "parameters"), "x")
        measured = {"images": 64, "step": 8, "value": 3.5, "seconds": 0.4, "identity": identity, "metrics": {}, "identities": {}}
        return [
            {
                "history.json": canonical_json(
                    {
                        "points": [{"images": n * 8, "step": n, "loss_generator": 0.5, "separation": 0.7} for n in range(1, 9)],
                        "evaluations": [measured, {**measured, "images": 32}],
                        "alarms": [{"images": 24, "kind": "collapse", "text": "it repeats itself", "done": "rolled back"}],
                        "compute": [
                            {
                                "kind": "cpu",
                                "device": "EPYC",
                                "ranks": 1,
                                "threads": 2,
                                "torch": "2",
                                "watts": None,
                                "seconds": 3.5,
                            }
                        ],
                    }
                ).encode()
            }
        ]

    def read(self, case: Path) -> None:
        from atelier.report.card import model_card
        from atelier.report.facts import gather
        from atelier.report.html import charts

        packed = Registry.packed(self.folder)
        if (case / "history.json").exists():
            (self.checkpoint / "history.json").write_bytes((case / "history.json").read_bytes())
        charts(gather(self.checkpoint, Registry.evaluation(), packed))
        model_card(self.checkpoint, Registry.evaluation(), packed, "digits")


class Registry:
    """What records of the registry are made of."""

    @staticmethod
    def measurement() -> Any:
        from atelier.metrics.identity import Identity, Measurement

        identity = Identity("frechet", "efficientnet_lite0", "e" * 64, "bilinear 224", 100, "uniform", "r" * 64, 450, 0, "")
        return Measurement(12.5, 0.5, identity, higher_is_better=False)

    @staticmethod
    def evaluation() -> Any:
        from atelier.metrics.evaluate import Evaluation

        return Evaluation([Registry.measurement()], {"zero": 0.5}, {"zero": 3.0}, {"frechet": 0.1}, generator="a" * 64)

    @staticmethod
    def packed(folder: Path) -> Any:
        from atelier.data.manifest import load_manifest

        if not (folder / "set").exists():
            PackedSet(folder / "set")
        return load_manifest(folder / "set" / "packed")


class EvaluationFolder(Target):
    names = ("metrics.json", "verdict.json")

    def build(self) -> list[Files]:
        from atelier.metrics import verdict

        self.checkpoint = checkpoint(self.folder / "model")
        Registry.evaluation().write(self.folder / "metrics.json")
        verdict.write(self.folder, "too far away")
        return [{name: (self.folder / name).read_bytes() for name in ("metrics.json", "verdict.json")}]

    def read(self, case: Path) -> None:
        from atelier.metrics import verdict
        from atelier.metrics.evaluate import read_evaluation
        from atelier.report.card import model_card

        found = read_evaluation(case / "metrics.json")
        found.write(case / "again.json")
        model_card(self.checkpoint, found, Registry.packed(self.folder), "digits", baseline=found)
        verdict.read(case).strip()


class Params(Target):
    names = ("params.yaml",)

    def build(self) -> list[Files]:
        return [{"params.yaml": PARAMS.encode()}]

    def read(self, case: Path) -> None:
        load(case / "params.yaml")


class State(Target):
    names = ("step-000000005", "state.json", ".safetensors")

    def build(self) -> list[Files]:
        import torch

        from atelier.training import state

        tensors = {group: {"weight": torch.arange(6.0)} for group in state.GROUPS}
        state.write(self.folder / "step-000000005", tensors, {"run_key": "k", "step": 5, "best": {"step": 5}, "history": {}})
        whole = files_of(self.folder / "step-000000005")
        values = json.loads(whole["state.json"])
        del values["sha256"]
        return [whole, {**whole, "state.json": canonical_json(values).encode()}]

    def read(self, case: Path) -> None:
        from atelier.training import state

        place = case / "step-000000005"
        place.mkdir()
        for file in [file for file in case.iterdir() if file.is_file()]:
            file.rename(place / file.name)
        state.read(place, "k")


class Cache(Target):
    """A damaged entry is computed again, so nothing is an error here."""

    names = ()

    def build(self) -> list[Files]:
        from atelier.metrics import cache

        cache.store(self.folder, "kind", {"of": "fuzz"}, {"mean": np.zeros(3)}, {"count": 3})
        self.place = cache.entry_folder(self.folder, "kind", {"of": "fuzz"})
        return [files_of(self.place)]

    def read(self, case: Path) -> None:
        from atelier.metrics import cache

        for file in case.iterdir():
            (self.place / file.name).write_bytes(file.read_bytes())
        cache.load(self.folder, "kind", {"of": "fuzz"})


class Ledger(Target):
    names = ("ledger of digits",)

    def build(self) -> list[Files]:
        decision = {
            "action": "promote",
            "version": 1,
            "reason": "better",
            "by": "me",
            "at": "now",
            "aliases": {"champion": 1},
            "tags": {},
        }
        turns = {"by": "me", "at": "now", "id": "1"}
        parameters = {"0001.turn": json.dumps(turns), "0001.decision": json.dumps(decision), "0001.end": "done"}
        return [{"0001.decision.json": json.dumps(decision).encode()}, {"parameters.json": json.dumps(parameters).encode()}]

    def read(self, case: Path) -> None:
        from atelier.registry.ledger import Ledger as Real

        if (case / "0001.decision.json").exists():  # MLflow keeps text
            parameters = {"0001.decision": (case / "0001.decision.json").read_bytes().decode("utf-8", "replace")}
        else:
            parameters = _texts(case / "parameters.json")
        run = SimpleNamespace(data=SimpleNamespace(params=parameters))
        Real(SimpleNamespace(get_run=lambda _: run), "digits", "run").entries()  # type: ignore[arg-type]


class Numbers(Target):
    names = ("models:/digits/1",)

    def build(self) -> list[Files]:
        values = json.dumps(Registry.measurement().to_dict())
        return [{"value.json": values.encode()}, {"tags.json": json.dumps({"atelier.measurement.frechet": values}).encode()}]

    def read(self, case: Path) -> None:
        from atelier.registry.versions import MEASUREMENT, measurements

        if (case / "value.json").exists():
            tags = {f"{MEASUREMENT}frechet": (case / "value.json").read_bytes().decode("utf-8", "replace")}
        else:
            tags = _texts(case / "tags.json")
        measurements(SimpleNamespace(name="digits", version="1", tags=tags))  # type: ignore[arg-type]


def _texts(file: Path) -> dict[str, str]:
    """A record of MLflow, which holds texts by name, whatever they say."""
    try:
        found = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return {}
    return (
        {name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}
        if isinstance(found, dict)
        else {}
    )


class Registration(Target):
    names = ("registration.json", "case")

    def build(self) -> list[Files]:
        from components.register import Line

        line = dict.fromkeys(Line.__dataclass_fields__, "x") | {"values": [["FID", "3"]]}
        return [{"registration.json": canonical_json([line]).encode()}]

    def read(self, case: Path) -> None:
        from components import register

        (case / "registration.json").rename(case / register.SUMMARY)
        register.read_lines(case)


class DvcLock(Target):
    names = ("dvc.lock",)

    def build(self) -> list[Files]:
        stage = {
            "cmd": "python -m components.prepare",
            "deps": [{"path": "data/raw", "md5": "0" * 32, "size": 3}],
            "params": {"params.yaml": {"data": {"source": "folder", "path": "data/raw"}}},
            "outs": [{"path": "data/base", "md5": "1" * 32 + ".dir"}],
        }
        return [{"dvc.lock": canonical_json({"schema": "2.0", "stages": {"prepare": stage}}).encode()}]

    def read(self, case: Path) -> None:
        from atelier.registry.ancestry import dvc_record

        os.chdir(case)
        dvc_record(Path("data/base"))


class DvcAddress(Target):
    names = ("data.path", "DVC remote", "uri")

    def build(self) -> list[Files]:
        address = f"/remote/files/md5/{'0' * 2}/{'1' * 30}.dir"
        return [
            {
                ".dvc/config": b"[core]\n no_scm = true\n remote = origin\n['remote \"origin\"']\n url = /nowhere/remote\n",
                "images.dvc": b"outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  hash: md5\n  path: images\n",
                "images/1.png": b"",
            },
            {"uri": address.encode()},
        ]

    def read(self, case: Path) -> None:
        from components.fetch import tracked
        from pipelines.versioned import address

        if (case / "uri").exists():
            tracked("uri" + (case / "uri").read_text("utf-8", "replace"))
            return
        address("data", str(case / "images"))


class Http(Target):
    """The serving application in this process. It answers images or a documented refusal, whatever it is sent."""

    names = ()
    allowed = (200, 404, 405, 406, 413, 422)

    def build(self) -> list[Files]:
        from atelier.registry.model import ServedGenerator
        from atelier.serving.app import application
        from atelier.serving.follow import Champion
        from atelier.serving.limits import Limits
        from atelier.serving.metrics import Metrics

        champion = Champion("models:/digits/1", ServedGenerator(checkpoint(self.folder / "model")), [])
        follower = SimpleNamespace(uri="models:/digits@champion", current=champion, trouble="")
        self.app = application(follower, Limits(2**16, 16, 1e9, 32), Metrics())  # type: ignore[arg-type]
        return self.requests()

    def requests(self) -> list[Files]:
        latent = [0.5] * 6
        bodies = (
            {"rows": [{"seed": 1, "class": "one", "truncation": 0.5}, {"latent": latent, "class": 2}, {"seed": 3}]},
            {"count": 3, "seed": 7, "class": "zéro", "truncation": 1},
        )
        return [{"body.json": json.dumps(body).encode()} for body in bodies]

    def read(self, case: Path) -> None:
        self.ask("POST", "/generate", b"", (case / "body.json").read_bytes(), b"application/json")

    def ask(self, method: str, path: str, query: bytes, body: bytes, accept: bytes) -> None:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http", "path": path,
            "raw_path": path.encode("utf-8", "replace"), "query_string": query, "root_path": "", "headers": [(b"accept", accept)],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        }  # fmt: skip
        asyncio.run(self.app(scope, receive, send))  # type: ignore[arg-type]
        status = sent[0]["status"]
        content = b"".join(message.get("body", b"") for message in sent[1:])
        assert status in self.allowed, (status, content)
        if status != 200:
            error = json.loads(content)["error"]
            assert 0 < len(error) < 2000 and "Traceback" not in error, error


class HttpAddress(Http):
    def requests(self) -> list[Files]:
        return [{"query": b"seed=7&class=one&truncation=0.5", "accept": b"image/png;q=0.5, */*", "path": b"/image.png"}]

    def read(self, case: Path) -> None:
        query = quote_from_bytes((case / "query").read_bytes(), safe="=&%+").encode()
        path = "/" + (case / "path").read_text("utf-8", "replace").lstrip("/")
        self.ask("GET", path, query, b"", (case / "accept").read_bytes())
        self.ask("GET", "/image.png", query, b"", (case / "accept").read_bytes())
        self.ask("POST", "/generate", b"", b'{"count": 1}', (case / "accept").read_bytes())


TARGETS: dict[str, type[Target]] = {
    "pictures": Pictures,
    "measured_pictures": MeasuredPictures,
    "zip": Zip,
    "idx": Idx,
    "parquet": Parquet,
    "manifest": PackedSet,
    "shards": Shards,
    "parts": Parts,
    "checkpoint": Checkpoint,
    "history": History,
    "evaluation": EvaluationFolder,
    "params": Params,
    "state": State,
    "cache": Cache,
    "ledger": Ledger,
    "numbers": Numbers,
    "registration": Registration,
    "dvc_lock": DvcLock,
    "dvc_address": DvcAddress,
    "http_body": Http,
    "http_address": HttpAddress,
}
