"""What a user does with DVC, in a clone of its own with very small data."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import mlflow
import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from atelier_mlflow import place
from tests.support.clone import STAGES, Clone, make_clone, skipped
from tests.support.small import folder_hash

REGISTER = {"register_base", "register_finetuned"}


@dataclass(frozen=True)
class Reproduced(Clone):
    """A clone in which `dvc repro` has run, and what that said."""

    first: str = ""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Reproduced:
    made = make_clone(tmp_path_factory.mktemp("clone"))
    return Reproduced(made.folder, first=made.dvc("repro"))


@pytest.fixture
def edited(clone: Reproduced) -> Iterator[Reproduced]:
    """The clone with dvc.lock committed; what git knows is put back afterwards."""
    clone.run("git", "add", "dvc.lock")
    if clone.run("git", "status", "--porcelain"):
        clone.run("git", "commit", "--quiet", "--message", "first results")
    yield clone
    clone.run("git", "checkout", "--quiet", ".")


@pytest.fixture
def committed(edited: Reproduced) -> Iterator[Reproduced]:
    """The same, and what its stages have made is put back, too."""
    yield edited
    edited.run("git", "checkout", "--quiet", ".")
    edited.dvc("checkout", "--quiet", "--force")


def test_every_stage_ran_and_git_sees_only_the_lock(clone: Reproduced) -> None:
    assert all(f"Running stage '{name}'" in clone.first for name in STAGES)
    assert "digits-finetuned version 1: promoted, since it passes every floor" in clone.first
    assert clone.run("git", "status", "--porcelain").split() in (["??", "dvc.lock"], [])


def test_again_runs_nothing(clone: Reproduced) -> None:
    assert skipped(clone.dvc("repro")) == set(STAGES)
    assert "version 1" in clone.run(sys.executable, "-m", "components.register", "--show", "registration")


def test_an_experiment_with_finetuning_leaves_training_alone(committed: Reproduced) -> None:
    output = committed.dvc("exp", "run", "--set-param", "finetune.seed=1", "evaluate_finetuned")
    assert skipped(output) == {"prepare@base", "train", "prepare@target"}
    metrics = committed.dvc_json("metrics", "diff")
    assert set(metrics) == {"evaluations/finetuned/metrics.json"}
    change = metrics["evaluations/finetuned/metrics.json"]["frechet_efficientnet_lite0"]
    assert change["old"] != change["new"] and change["diff"] == pytest.approx(change["new"] - change["old"])
    assert committed.dvc_json("params", "diff") == {"params.yaml": {"finetune.seed": {"old": 0, "new": 1, "diff": 1}}}


def test_a_queue_of_experiments_is_a_sweep(committed: Reproduced) -> None:
    """Recipes and seeds on one machine, of which the best goes on: what `pipelines submit --sweep` does."""
    registry = mlflow.MlflowClient(f"sqlite:///{committed.folder}/mlflow.db")
    before = len(registry.search_model_versions())
    committed.dvc("exp", "run", "--queue", "--set-param", "train.seed=1,2", "evaluate_base")
    committed.dvc("exp", "run", "--run-all", "--jobs", "2")
    distance = "evaluations/base/metrics.json:frechet_efficientnet_lite0"
    shown = committed.dvc("exp", "show", "--csv", "--only-changed", "--sort-by", distance)
    table = list(csv.DictReader(io.StringIO(shown)))
    trials = {row["train.seed"]: float(row[distance]) for row in table if row["typ"].startswith("branch")}
    assert set(trials) >= {"1", "2"} and trials["1"] != trials["2"]
    for name in {row["Experiment"] for row in table if row["typ"].startswith("branch") and row["train.seed"] in ("1", "2")}:
        assert steps_of(registry, committed.folder, name) == {"train", "evaluate_base"}
    best = min(trials, key=trials.__getitem__)
    (name,) = {row["Experiment"] for row in table if row["train.seed"] == best and row["typ"].startswith("branch")}
    committed.dvc("exp", "apply", name)
    metrics = json.loads((committed.folder / "evaluations/base/metrics.json").read_text())
    assert metrics["frechet_efficientnet_lite0"] == pytest.approx(trials[best])
    assert len(registry.search_model_versions()) == before, "no trial has registered anything"
    assert {"train", "evaluate_base"} <= skipped(committed.dvc("repro", "register_base"))
    after = registry.search_model_versions()
    assert len(after) == before + 1, "the best generator alone"
    newest = max((one for one in after if one.name == "digits"), key=lambda one: int(one.version))
    key = newest.tags["atelier.run_key"]
    (trained,) = registry.search_runs(["1"], f"tags.`atelier.run_key` = '{key}' and tags.`atelier.step` = 'train'")
    assert trained.data.tags["dvc.experiment"] == name


def steps_of(registry: mlflow.MlflowClient, folder: Path, experiment: str) -> set[str]:
    """Steps of a DVC experiment that have a finished run in MLflow, with numbers, and with pictures beside the database."""
    found = set()
    for run in registry.search_runs(["1"], f"tags.`dvc.experiment` = '{experiment}' and tags.`atelier.step` != ''"):
        files = place(folder / "mlflow.db", run.info.artifact_uri)
        assert run.info.status == "FINISHED" and run.data.metrics and list(files.rglob("*.png"))
        found.add(run.data.tags["atelier.step"])
    return found


def test_plots_compare_revisions(edited: Reproduced) -> None:
    page = edited.dvc("plots", "diff", "HEAD").strip().splitlines()[-1].removeprefix("file://")
    html = Path(unquote(page)).read_text(encoding="utf-8")
    for shown in ("Losses of the base generator", "Diversity of the fine-tuned generator", "Distance of the base generator"):
        assert shown in html
    assert "HEAD_evaluations_finetuned_grid.png" in html


@pytest.mark.parametrize(
    ("key", "value", "first"),
    [
        ("train.seed", "1", {"train", "finetune"}),  # which has it from train
        ("finetune.images", "96", {"finetune"}),
        ("data.base.fit", "pad", {"prepare@base", "prepare@target"}),
        ("evaluate.samples", "20", {"evaluate_base", "evaluate_finetuned"}),
        ("evaluate.seed", "1", {"train", "evaluate_base", "finetune", "evaluate_finetuned"}),
        ("data.target.margin", "3", {"prepare@target"}),
        ("products.base.name", "other", set()),
    ],
)
def test_a_setting_concerns_the_stages_that_read_it(edited: Reproduced, key: str, value: str, first: set[str]) -> None:
    """And those that register, which keep all of them with the versions."""
    yaml, file = YAML(), edited.folder / "params.yaml"
    values = yaml.load(file)
    *path, name = key.split(".")
    reduce(lambda inner, part: inner[part], path, values)[name] = yaml.load(value)
    yaml.dump(values, file)
    assert edited.changed() == {*first, *REGISTER}


def test_new_images_are_packed_again(edited: Reproduced) -> None:
    new = edited.folder / "data" / "raw" / "base" / "dark" / "new.png"
    Image.fromarray(np.full((28, 28), 7, np.uint8)).save(new)
    assert edited.changed() == {"prepare@base"}
    new.unlink()


@pytest.fixture
def toy(committed: Reproduced) -> Iterator[Reproduced]:
    """The clone with files that a stranger has added: an architecture, which is a pair of them, and a task."""
    package = committed.folder / "atelier"
    (package / "tasks" / "toy").mkdir()
    (package / "tasks" / "toy" / "task.py").write_text("TOY = 1\n")
    (package / "networks" / "toy.py").write_text("from atelier.networks.mlp import NETWORKS as NETWORKS\n")
    (package / "networks" / "toy_settings.py").write_text(TOY_SETTINGS)
    yield committed
    shutil.rmtree(package / "tasks" / "toy")
    for name in ("toy.py", "toy_settings.py"):
        (package / "networks" / name).unlink()


TOY_SETTINGS = """
from atelier.networks import mlp_settings

class Settings(mlp_settings.Settings):
    title = "Toy (nobody)"
"""


def test_a_strangers_files_run_nothing_again(toy: Reproduced) -> None:
    assert toy.changed() == set()
    own = toy.folder / "atelier" / "networks" / "mlp.py"
    own.write_text(own.read_text() + "# mended\n")
    assert {"train", "finetune"} <= toy.changed()


def test_a_strangers_architecture_and_another_regularizer_need_no_edit(toy: Reproduced) -> None:
    """Neither is in params.yaml: the one is found by its files, the other by DVC's sign for a new key."""
    changes = ["model.architecture=toy", "+model.toy.hidden=[8]", "train.regularizers.r1=0.5"]
    changes.append("+train.regularizers.orthogonal=0.001")
    toy.dvc("exp", "run", *(part for one in changes for part in ("--set-param", one)), "train")
    info = json.loads((toy.folder / "models/base/generator.json").read_text())
    assert info["model"]["toy"] == {"hidden": [8]} and "mlp" not in info["model"]
    assert info["settings"]["regularizers"] == {"orthogonal": 0.001, "r1": 0.5, "r2": 1.0}
    changed = toy.dvc_json("params", "diff")["params.yaml"]
    assert changed["model.architecture"] == {"old": "mlp", "new": "toy"}
    assert changed["train.regularizers.orthogonal"] == {"old": None, "new": 0.001}
    assert not [key for key in changed if key.startswith("finetune.")]


def test_compiled_bytecode_is_no_change(edited: Reproduced) -> None:
    (edited.folder / "atelier" / "data" / "__pycache__").mkdir(exist_ok=True)
    (edited.folder / "atelier" / "data" / "__pycache__" / "pack.cpython-311.pyc").write_bytes(b"bytecode")
    assert edited.changed() == set()


def test_push_and_pull_over_s3(committed: Reproduced, s3: Any) -> None:
    outputs = ("data/base", "data/target", "models", "evaluations", "registration")
    before = {name: folder_hash(committed.folder / name) for name in outputs}
    committed.dvc("remote", "add", "--local", "--default", "store", f"s3://{s3.bucket}/dvc")
    committed.dvc("remote", "modify", "--local", "store", "endpointurl", s3.endpoint)
    committed.dvc("push")
    for name in (*outputs, ".dvc/cache"):
        shutil.rmtree(committed.folder / name)
    committed.dvc("pull")
    assert {name: folder_hash(committed.folder / name) for name in outputs} == before
    assert skipped(committed.dvc("repro")) == set(STAGES)


def test_imported_images_follow_their_source(committed: Reproduced, s3: Any) -> None:
    """`dvc import-url` of a prefix: DVC keeps the files, `dvc update` brings what changed, and packing runs again."""
    place = committed.folder / "data" / "raw" / "imported"
    for image in sorted((committed.folder / "data" / "raw" / "base").rglob("*.png"))[:24]:
        s3.client.upload_file(str(image), s3.bucket, f"imported/{image.parent.name}/{image.name}")
    committed.dvc("import-url", f"s3://{s3.bucket}/imported", str(place.relative_to(committed.folder)))
    params = (committed.folder / "params.yaml").read_text(encoding="utf-8")
    (committed.folder / "params.yaml").write_text(params.replace("path: data/raw/base", "path: data/raw/imported"))
    assert len(list(place.rglob("*.png"))) == 24 and committed.changed() == {"prepare@base", *REGISTER}
    committed.dvc("repro", "prepare@base")
    committed.dvc("remote", "add", "--local", "--force", "--default", "store", f"s3://{s3.bucket}/dvc")
    committed.dvc("remote", "modify", "--local", "store", "endpointurl", s3.endpoint)
    committed.dvc("push", "data/raw/imported.dvc")
    before = folder_hash(place)
    shutil.rmtree(place)
    committed.dvc("pull", "data/raw/imported.dvc")
    assert folder_hash(place) == before
    s3.client.put_object(Bucket=s3.bucket, Key="imported/dark/new.png", Body=next(place.rglob("*.png")).read_bytes()[:-1] + b"x")
    assert "prepare@base" not in committed.changed(), "an import stays as it is until it is updated"
    committed.dvc("update", "data/raw/imported.dvc")
    assert len(list(place.rglob("*.png"))) == 25 and "prepare@base" in committed.changed()
