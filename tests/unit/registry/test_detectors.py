"""Detectors in the registry: what is registered comes back, and nothing else does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow.entities.model_registry import ModelVersion

from atelier.detection import model
from atelier.detection.detectors import Spectrum
from atelier.detection.model import INFO, WEIGHTS
from atelier.registry import __main__ as command
from atelier.registry import detectors, signing
from atelier.registry.fetch import load_checkpoint
from atelier.registry.register import register
from atelier.registry.signing import SignatureError
from atelier.registry.versions import DESCRIPTION_LIMIT, DETECTOR_AT, DETECTOR_HASH, uri
from atelier.tracking.client import client
from atelier.tracking.place import TrackingError
from atelier.tracking.step_run import StepRun, step_run
from atelier_mlflow import place
from tests.support.detectors import REAL, write_detector
from tests.support.signatures import flip
from tests.support.signing_keys import Keys


@pytest.fixture
def run(tracking: Path, keys: Keys) -> Iterator[StepRun]:
    with step_run("register_detector", "detector tests", {}, required=True) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_detector(tmp_path / "detector", Spectrum())
    return tmp_path / "detector"


@pytest.fixture
def registered(run: StepRun, folder: Path, tmp_path: Path, keys: Keys) -> ModelVersion:
    """A version that the key "ours" has signed, with which the environment verifies."""
    keys.sign_with("ours")
    keys.verify_with("ours")
    return detectors.register(run, tmp_path.name, folder, "A table.")


def stored(version: ModelVersion, file: str) -> Path:
    root = place(Path("mlflow.db"), client().get_run(str(version.run_id)).info.artifact_uri)
    return Path(root) / version.tags[DETECTOR_AT] / file


def test_what_is_registered_comes_back(registered: ModelVersion, folder: Path, tmp_path: Path) -> None:
    fetched = detectors.fetch(uri(registered), tmp_path / "fetched")
    assert sorted(file.name for file in fetched.iterdir()) == [INFO, WEIGHTS]
    assert (model.load(fetched).scores(REAL[0]) == model.load(folder).scores(REAL[0])).all()
    assert registered.tags["metric.auc.JPEG_75"] == "0.900000" and registered.description == "A table."


def test_the_same_detector_makes_no_second_version(registered: ModelVersion, run: StepRun, folder: Path, tmp_path: Path) -> None:
    assert detectors.register(run, tmp_path.name, folder, "").version == registered.version
    write_detector(folder, Spectrum(), threshold=0.5)
    assert int(detectors.register(run, tmp_path.name, folder, "").version) == int(registered.version) + 1


@pytest.mark.parametrize("file", [WEIGHTS, INFO])
def test_another_file_than_was_registered_is_refused(registered: ModelVersion, file: str, tmp_path: Path) -> None:
    flip(stored(registered, file))
    with pytest.raises(TrackingError, match=rf"{file} is not the one that was registered"):
        detectors.fetch(uri(registered), tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_a_detector_of_another_key_is_refused(registered: ModelVersion, keys: Keys, tmp_path: Path) -> None:
    keys.verify_with("theirs")
    with pytest.raises(SignatureError, match="signed by another key"):
        detectors.fetch(uri(registered), tmp_path / "fetched")


def test_without_a_signature_it_is_refused_where_one_is_asked_for(run: StepRun, folder: Path, tmp_path: Path, keys: Keys) -> None:
    version = detectors.register(run, tmp_path.name, folder, "")
    assert signing.SIGNATURE_AT not in version.tags
    keys.verify_with("ours")
    with pytest.raises(SignatureError, match="its signature is missing"):
        detectors.fetch(uri(version), tmp_path / "fetched")


def test_generators_and_detectors_are_not_taken_for_each_other(
    registered: ModelVersion, run: StepRun, folder: Path, make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(TrackingError, match="is a detector, and a generator is needed"):
        load_checkpoint(uri(registered), tmp_path / "checkpoint")
    made = register(run, f"{tmp_path.name}-generator", make_checkpoint("base"), [], "A card.")
    with pytest.raises(TrackingError, match="is a generator, and a detector is needed"):
        detectors.fetch(made.uri, tmp_path / "fetched")
    foreign = client().create_registered_model(f"{tmp_path.name}-foreign").name
    client().create_model_version(foreign, str(tmp_path), run.run_id)
    with pytest.raises(TrackingError, match="was not registered by Atelier; name a version that"):
        detectors.fetch(f"models:/{foreign}/1", tmp_path / "fetched")
    with pytest.raises(TrackingError, match="is the name of a registered generator"):
        detectors.register(run, made.name, folder, "")


def test_long_tables_are_shortened_for_the_database_and_kept_whole(run: StepRun, folder: Path, tmp_path: Path) -> None:
    tables = "".join(f"| row {number} | 0.5 |\n" for number in range(1000))
    version = detectors.register(run, f"{tmp_path.name}-long", folder, tables)
    said = version.description or ""
    assert DESCRIPTION_LIMIT - 60 < len(said) < DESCRIPTION_LIMIT and tables.startswith(said.partition("…")[0].rstrip())
    artifact = said.split("`")[1]
    whole = client().download_artifacts(run.opened_id, artifact, str(tmp_path))
    assert run.opened_id in said and Path(whole).read_text(encoding="utf-8") == tables


def test_it_is_listed_and_shown_as_a_detector(
    registered: ModelVersion, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for verb in (["list", registered.name], ["show", f"{registered.name}/1"]):
        monkeypatch.setattr(sys, "argv", ["registry", *verb])
        command.main()
        told.append(capsys.readouterr().out)
    assert registered.tags[DETECTOR_HASH][:12] in told[0] and registered.tags[DETECTOR_HASH] in told[1]
    assert "detector of generated images" in told[1] and told[1].endswith("A table.\n")
