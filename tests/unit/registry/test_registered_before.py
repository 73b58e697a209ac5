"""What the code of November 2026 registered is served, compared, promoted and rolled back to, and loads as a checkpoint.

registered-2026-11.tar.xz holds mlflow.db and mlartifacts as `dvc repro` of that code left them on the tiny images of the tests:
digits version 1, digits-finetuned versions 1 and 2 (promoted by hand), and in images.npz what both versions gave for ROWS.
"""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from atelier.models.model import load_generator, read_weights, sample
from atelier.registry.__main__ import main
from atelier.registry.fetch import load_checkpoint
from atelier.training.checkpoint import PretrainedModel, networks_in
from atelier_mlflow import sqlite_file

ROWS = pd.DataFrame({"seed": [0, 1, 2], "class": ["bright", "dark", "dark"]})


@pytest.fixture
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path])  # to which MLflow adds the code that was logged with a model, for good
    with tarfile.open(Path(__file__).with_name("registered-2026-11.tar.xz")) as archive:
        archive.extractall(tmp_path / "store", filter="data")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/store/mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "store"


def registry(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["registry", *arguments])
    main()


@pytest.mark.parametrize("version", [1, 2])
def test_a_version_gives_the_images_that_it_gave(version: int, before: Path) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{before}/mlflow.db")
    images = np.asarray(mlflow.pyfunc.load_model(f"models:/digits-finetuned/{version}").predict(ROWS))
    expected = np.load(before / "images.npz")[f"version_{version}"]
    assert images.dtype == expected.dtype == np.uint8 and images.shape == expected.shape
    assert abs(images.astype(int) - expected).max() <= 1, "but for the rounding of another processor"


def test_it_is_a_checkpoint_that_can_be_compared_and_rolled_back_to(
    before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load_checkpoint("models:/digits-finetuned@champion", tmp_path / "pulled")
    (images,) = sample(load_generator(tmp_path / "pulled"), 4, 0)
    assert images.shape == (4, 1, 28, 28)
    assert PretrainedModel(tmp_path / "pulled").folder == tmp_path / "pulled"
    networks = read_weights(networks_in(tmp_path / "pulled"))
    assert {name.partition(".")[0] for name in networks} == {"discriminator", "generator"}
    registry(monkeypatch, "compare", "digits-finetuned/1", "digits-finetuned/2", "--output", str(tmp_path / "page"))
    assert (tmp_path / "page").is_dir()
    registry(monkeypatch, "lineage", "digits-finetuned/2")
    assert "models:/digits/1" in capsys.readouterr().out
    registry(monkeypatch, "rollback", "digits-finetuned", "--reason", "a trial")
    assert "champion is version 1" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["with a space", "it's", "grösse", "a%20b"])
def test_mlflows_own_default_finds_the_files_in_a_folder_of_any_name(
    name: str, before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody names a database, MLflow writes the address of mlflow.db in the working directory quoted."""
    (tmp_path / name).mkdir()
    before.rename(tmp_path / name / "store")
    monkeypatch.chdir(tmp_path / name / "store")
    for address in (Path("mlflow.db").resolve().as_uri().replace("file:///", "sqlite:////"), f"sqlite:///{Path.cwd()}/mlflow.db"):
        assert sqlite_file(address) == Path.cwd() / "mlflow.db"
