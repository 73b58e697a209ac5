"""Of several generators the best by the distance goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from atelier.config.settings import Settings, load
from atelier.metrics import acceptance
from components.choose import ChoiceError, choose, markdown, trials
from components.evaluate import EVALUATION, METRICS, evaluate
from components.prepare import prepare
from components.train import train
from tests.support.small import write_params

Folders = tuple[list[Path], list[Path]]


@pytest.fixture(scope="module")
def settings(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("choose")
    write_params(folder / "params.yaml", images)
    return load(folder / "params.yaml")


@pytest.fixture(scope="module")
def trained(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Two generators of different seeds and rates, and their evaluations."""
    folder = tmp_path_factory.mktemp("trials")
    checkpoints, evaluations = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.chdir(folder)
        prepare(settings.data["base"], folder / "images", "atelier", "data.base")
        for seed, rate in ((0, 0.001), (1, 0.004)):
            checkpoint, evaluation = folder / f"model-{seed}", folder / f"evaluation-{seed}"
            chosen = settings.train.model_copy(update={"seed": seed, "lr_generator": rate})
            places = checkpoint, folder / "states", folder / "cache"
            train(settings.model, chosen, settings.evaluate, "atelier", [folder / "images"], *places, device="cpu")
            evaluate(settings.evaluate, "atelier", checkpoint, folder / "images", evaluation, folder / "cache", device="cpu")
            checkpoints.append(checkpoint)
            evaluations.append(evaluation)
    return checkpoints, evaluations


def distance(evaluation: Path) -> float:
    return json.loads((evaluation / METRICS).read_text())["frechet_efficientnet_lite0"]


def edited(trained: Folders, tmp_path: Path, number: int, change: dict[str, Any]) -> list[Path]:
    """The evaluations with one of them changed in its measurements."""
    copies = [Path(shutil.copytree(one, tmp_path / f"copy-{index}")) for index, one in enumerate(trained[1])]
    file = copies[number] / EVALUATION
    values = json.loads(file.read_text())
    for measurement in values["measurements"]:
        measurement.update({key: value for key, value in change.items() if key != "identity"})
        measurement["identity"].update(change.get("identity", {}))
    file.write_text(json.dumps(values))
    return copies


def test_the_nearest_is_taken_with_its_own_evaluation(trained: Folders, tmp_path: Path) -> None:
    checkpoints, evaluations = trained
    # In any order: what belongs together is known by the hash of the weights.
    best = choose(checkpoints, evaluations[::-1], tmp_path / "model", tmp_path / "evaluation")[0]
    nearest = min(range(2), key=lambda index: distance(evaluations[index]))
    assert (best.checkpoint, best.evaluation) == (checkpoints[nearest], evaluations[nearest])
    for copy, source in ((tmp_path / "model", checkpoints[nearest]), (tmp_path / "evaluation", evaluations[nearest])):
        files = {path.relative_to(source) for path in source.rglob("*")}
        assert {path.relative_to(copy) for path in copy.rglob("*")} == files
        assert all((copy / file).read_bytes() == (source / file).read_bytes() for file in files if (source / file).is_file())


def test_the_table_shows_in_what_they_differ(trained: Folders) -> None:
    lines = markdown(trials(*trained)).splitlines()
    assert lines[2] == "| rank | train.lr_generator | train.seed | frechet_efficientnet_lite0 | accepted |"
    assert len(lines) == 6 and lines[4].startswith("| 1 |")


def test_what_is_of_no_use_is_the_last_choice(trained: Folders, tmp_path: Path) -> None:
    nearest = min(range(2), key=lambda index: distance(trained[1][index]))
    copies = edited(trained, tmp_path, 0, {})
    acceptance.write(copies[nearest], "class 3 is missing")
    found = trials(trained[0], copies)
    assert found[0].evaluation == copies[1 - nearest]
    assert "class 3 is missing" in markdown(found)


def test_numbers_of_other_identity_are_not_compared(trained: Folders, tmp_path: Path) -> None:
    with pytest.raises(ChoiceError, match="measured in different ways"):
        trials(trained[0], edited(trained, tmp_path, 1, {"identity": {"seed": 7}}))


def test_a_generator_without_its_evaluation_is_refused(trained: Folders) -> None:
    with pytest.raises(ChoiceError, match="none of 1 evaluations is of this generator"):
        trials(trained[0], trained[1][:1])
    with pytest.raises(ChoiceError, match="no trial"):
        trials([], [])
