"""A task with two products and one optimizer over two generators, from its packed images to what MLflow serves."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path

import mlflow
import numpy as np
import pandas
import pytest
import torch

from atelier.data.packed import PackedDataset
from atelier.metrics.evaluator import Evaluator
from atelier.metrics.while_training import measure_while_training, watching
from atelier.models.model import load_generator, read_info, sample
from atelier.tracking.client import client
from atelier.tracking.step_run import StepRun
from atelier.training.checkpoint import PretrainedModel, read_history
from atelier.training.distributed import Ranks
from atelier.training.run import run as train
from tests.support.driver import tiny
from tests.support.forked import Driver
from tests.support.registrations import register, run_fixture
from tests.support.registry_fixtures import store, tracking
from tests.support.twins import TWINS, Twins

__all__ = ["run_fixture", "store", "tracking"]
CPU = torch.device("cpu")
ENVIRONMENT = {"TASK": "twins"}


def files(folder: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")}


@pytest.fixture(name="model", scope="module")
def model_fixture(digits: PackedDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run in a process of its own, that nobody disturbed."""
    folder = tmp_path_factory.mktemp("twins")
    code, _, err = Driver(digits.folder, folder / "model", folder / "states", environment=ENVIRONMENT).finish()
    assert code == 0, err
    return folder / "model"


def test_each_product_is_a_whole_checkpoint_of_its_own(model: Path) -> None:
    assert sorted(path.name for path in model.iterdir()) == [*TWINS, "summary.json"]
    weights = {name: (model / name / "generator.safetensors").read_bytes() for name in TWINS}
    assert weights["left"] != weights["right"]
    for name in TWINS:
        load_generator(model / name)
        point = read_history(model / name)["points"][-1]
        assert {"apart", "loss_generator", "grad_norm_twins", "grad_norm_discriminator", "auc_real_fake"} <= point.keys()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_stopped_and_started_again_it_ends_with_the_same_bytes(
    how: signal.Signals, model: Path, digits: PackedDataset, tmp_path: Path
) -> None:
    first = Driver(digits.folder, tmp_path / "model", tmp_path / "states", environment=ENVIRONMENT)
    while not first.stdout.readline().startswith("point 20"):
        pass
    first.tell(how)
    assert first.finish()[0] == {signal.SIGKILL: -9, signal.SIGTERM: 75}[how]
    values = json.loads(max(tmp_path.glob("states/*/step-*/state.json")).read_text())
    assert values["memory"]["updates"] == 2 * values["step"], "what a task remembers is saved with the run"
    code, _, err = Driver(digits.folder, tmp_path / "model", tmp_path / "states", environment=ENVIRONMENT).finish()
    assert code == 0 and files(tmp_path / "model") == files(model), err


def test_measured_while_training_and_fine_tuned_from_both(model: Path, digits: PackedDataset, tmp_path: Path) -> None:
    chosen = tiny("train.images=640", "train.evaluate_samples=50", "evaluate.samples=50")
    measure, measured_by = measure_while_training(Twins, chosen.train, chosen.evaluate, {"data": digits}, tmp_path, Ranks(), CPU)
    start = PretrainedModel(model)
    infos = train(
        Twins, chosen.model, chosen.train, {"data": digits}, tmp_path / "model", tmp_path / "states", measure, measured_by,
        CPU, Ranks(), git={}, start=start,
    )  # fmt: skip
    last = read_history(tmp_path / "model" / "left")["evaluations"][-1]
    distances = [last["metrics"][f"{name}/frechet_efficientnet_lite0"] for name in TWINS]
    assert last["value"] == pytest.approx(sum(distances) / 2) and distances[0] != distances[1]
    for name, info in infos.items():
        assert info.parent is not None and info.parent["sha256"] == load_generator(model / name).sha256


def test_measured_registered_and_served(model: Path, digits: PackedDataset, run: StepRun, tmp_path: Path) -> None:
    chosen = tiny("train.evaluate_samples=50")
    evaluator = Evaluator(digits, watching(chosen.evaluate, chosen.train), tmp_path, progress=False)
    for name in TWINS:
        generator = load_generator(model / name)
        found = evaluator.measure(generator, read_info(model / name).classes)
        made = register(run, f"twins-{name}", model / name, found.measurements)
        client().set_registered_model_alias(f"twins-{name}", "champion", str(made.version))
        served = mlflow.pyfunc.load_model(f"models:/twins-{name}@champion").predict(pandas.DataFrame({"seed": [4]}))
        expected = next(sample(generator, 1, 4)).transpose(0, 2, 3, 1)
        assert np.abs(served.astype(int) - expected).max() <= 1
