"""Records that are fuzzed: checkpoints, saves, parameters, and what DVC and the registry keep."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from atelier.config.settings import load
from atelier.io.files import canonical_json
from tests.fuzz.image_readers import ROOT, PackedSet, Target, files_of
from tests.fuzz.mutations import Files


def checkpoint(folder: Path, family: str = "mlp") -> Path:
    """A checkpoint folder with all its files, of a small network."""
    from safetensors.torch import load_file, save_file

    from atelier.models.model import NETWORKS, WEIGHTS, read_info, write_info
    from tests.support import small_models

    small_models.make_checkpoint(folder, family)
    save_file({f"generator.{name}": value for name, value in load_file(folder / WEIGHTS).items()}, folder / NETWORKS)
    write_info(folder, read_info(folder))
    (folder / "history.json").write_text(canonical_json({"points": [], "evaluations": []}))
    return folder


class Checkpoint(Target):
    names = ("generator.json", "generator.safetensors", "networks.safetensors", "history.json")

    def build(self) -> list[Files]:
        made = []
        for family in ("mlp", "dcgan", "stylegan2"):
            whole = files_of(checkpoint(self.folder / family, family))
            info = json.loads(whole["generator.json"])
            info["weights"] = {}  # of before hashes were kept: damage gets as far as the readers
            made += [whole, {**whole, "generator.json": canonical_json(info).encode()}]
        return made

    def read(self, case: Path) -> None:
        from atelier.models.model import NETWORKS, load_generator, read_weights, sample
        from atelier.report.card import model_card
        from atelier.training.checkpoint import PretrainedModel

        generator = load_generator(case)
        next(iter(sample(generator, 2, seed=0)))
        read_weights(PretrainedModel(case).folder / NETWORKS)
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
                        "points": [{"images": n * 8, "step": n, "loss_generator": 0.5, "kinds": 0.7} for n in range(1, 9)],
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
        from atelier.metrics.evaluator import Evaluation

        return Evaluation([Registry.measurement()], {"zero": 0.5}, {"zero": 3.0}, {"frechet": 0.1}, generator="a" * 64)

    @staticmethod
    def packed(folder: Path) -> Any:
        from atelier.data.manifest import load_manifest

        if not (folder / "set").exists():
            PackedSet(folder / "set")
        return load_manifest(folder / "set" / "packed")


class EvaluationFolder(Target):
    names = ("metrics.json", "acceptance.json")

    def build(self) -> list[Files]:
        from atelier.metrics import acceptance

        self.checkpoint = checkpoint(self.folder / "model")
        Registry.evaluation().write(self.folder / "metrics.json")
        acceptance.write(self.folder, "too far away")
        return [{name: (self.folder / name).read_bytes() for name in ("metrics.json", "acceptance.json")}]

    def read(self, case: Path) -> None:
        from atelier.metrics import acceptance
        from atelier.metrics.evaluator import read_evaluation
        from atelier.report.card import model_card

        found = read_evaluation(case / "metrics.json")
        found.write(case / "again.json")
        model_card(self.checkpoint, found, Registry.packed(self.folder), "digits", baseline=found)
        acceptance.read(case).strip()


class Params(Target):
    names = ("params.yaml",)

    def build(self) -> list[Files]:
        return [{"params.yaml": (ROOT / "params.yaml").read_bytes()}]

    def read(self, case: Path) -> None:
        load(case / "params.yaml")


class State(Target):
    names = ("step-000000005", "state.json", ".safetensors")

    def build(self) -> list[Files]:
        import torch

        from atelier.training import states

        tensors = {group: {"weight": torch.arange(6.0)} for group in ("networks", "average-generator", "random")}
        states.write(self.folder / "step-000000005", tensors, {"run_key": "k", "step": 5, "best": {"step": 5}, "history": {}})
        whole = files_of(self.folder / "step-000000005")
        values = json.loads(whole["state.json"])
        del values["sha256"]
        return [whole, {**whole, "state.json": canonical_json(values).encode()}]

    def read(self, case: Path) -> None:
        from atelier.training import states

        place = case / "step-000000005"
        place.mkdir()
        for file in [file for file in case.iterdir() if file.is_file()]:
            file.rename(place / file.name)
        states.read(place, "k")


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
    names = ("data.base.path", "DVC remote", "uri")

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
        address("data.base", str(case / "images"))
