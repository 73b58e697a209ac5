"""The steps as functions, one after the other on a small set of images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch

from atelier.config.settings import Settings, fingerprint, load
from atelier.data.errors import DataError
from atelier.data.pack import pack
from atelier.io.files import sha256_file
from atelier.metrics import acceptance
from atelier.metrics.evaluator import read_evaluation
from atelier.models.model import GeneratorError
from atelier.training.precision import native
from atelier.training.states import StateError
from components.evaluate import evaluate
from components.prepare import prepare
from components.register import Line, RegistrationError, markdown, read_lines, register
from components.train import train
from tests.support.small import folder_hash, write_params

FOLDERS = {"base": ("model", "evaluation", "base"), "finetuned": ("tuned", "tuned-evaluation", "target")}
ADDRESS = f"s3://bucket/dvc/files/md5/aa/{30 * 'a'}.dir"


@dataclass(frozen=True)
class Made:
    """A workspace in which every step has run."""

    folder: Path
    settings: Settings
    lines: list[Line]


@pytest.fixture(scope="module")
def made(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("made")
    write_params(folder / "params.yaml", images)
    settings = load(folder / "params.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("OMP_NUM_THREADS", "1")
        prepare(settings.data["base"], Path("base"), "atelier", "data.base")
        prepare(settings.data["target"], Path("target"), "atelier", "data.target")
        _train(settings)
        _finetune(settings)
        evaluate(
            settings.evaluate,
            "atelier",
            Path("model"),
            Path("base"),
            Path("evaluation"),
            Path("cache"),
            device="cpu",
            step="evaluate_base",
        )
        evaluate(
            settings.evaluate,
            "atelier",
            Path("tuned"),
            Path("target"),
            Path("tuned-evaluation"),
            Path("cache"),
            baseline=Path("model"),
            device="cpu",
            step="evaluate_finetuned",
        )
        yield Made(folder, settings, _register(settings))


@pytest.fixture(autouse=True)
def in_its_folder(made: Made, quiet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{made.folder}/mlflow.db")


def _train(settings: Settings, output: str = "model", states: str = "states", resume: Path | None = None) -> Path:
    folders: dict[str, Any] = {"data": [Path("base")], "output": Path(output), "states": Path(states), "cache": Path("cache")}
    train(settings.model, settings.train, settings.evaluate, "atelier", **folders, device="cpu", resume_run=resume)
    return Path(output)


def _finetune(settings: Settings, output: str = "tuned", resume: Path | None = None) -> None:
    folders: dict[str, Any] = {"data": [Path("target")], "output": Path(output), "states": Path("tuning"), "cache": Path("cache")}
    base = None if resume else Path("model")
    train(
        settings.model, settings.trainings["finetune"], settings.evaluate, "atelier", **folders, section="finetune", base=base,
        device="cpu", resume_run=resume,
    )  # fmt: skip


def _register(settings: Settings, output: str = "registration") -> list[Line]:
    """Registers both; the lines of the table."""
    for product, (checkpoint, evaluation, data) in FOLDERS.items():
        more: dict[str, Any] = {"parent": Path(output, "base"), "data_address": ADDRESS} if product == "finetuned" else {}
        _register_one(settings, product, Path(checkpoint), Path(evaluation), Path(data), Path(output, product), **more)
    return read_lines(Path(output))


def _register_one(settings: Settings, product: Any, *folders: Path, **more: Any) -> list[Line]:
    checkpoint, evaluation, data, output = folders
    places: dict[str, Any] = {"output": output, "cache": Path("cache"), "device": "cpu"}
    return register(settings, checkpoint, evaluation, data, product=product, step=f"register_{product}", **places, **more)


def _changed(settings: Settings, section: str, **values: object) -> Settings:
    return settings.model_copy(update={section: getattr(settings, section).model_copy(update=values)})


def test_evaluation_keeps_numbers_beside_identities(made: Made) -> None:
    folder = made.folder / "evaluation"
    flat = json.loads((folder / "metrics.json").read_text())
    measured = read_evaluation(folder / "evaluation.json")
    assert flat == measured.flat
    assert {"frechet_efficientnet_lite0", "kernel_efficientnet_lite0"} <= set(flat)
    for name in ("report.html", "grid.png", "class_shares.csv", "manifest.json"):
        assert (folder / name).stat().st_size
    assert not (folder / "baseline.json").exists()


def test_the_baseline_is_measured_with_the_same_identity(made: Made) -> None:
    folder = made.folder / "tuned-evaluation"
    tuned, base = read_evaluation(folder / "evaluation.json"), read_evaluation(folder / "baseline.json")
    assert [m.identity for m in tuned.measurements] == [m.identity for m in base.measurements]
    assert json.loads((folder / "metrics.json").read_text())["baseline"] == base.flat
    assert base.flat != tuned.flat
    target = json.loads((made.folder / "target" / "manifest.json").read_text())["content_hash"]
    assert all(m.identity.reference.startswith(target) for m in base.measurements)


def test_images_of_another_size_are_refused_before_anything_is_measured(made: Made) -> None:
    larger = made.settings.data["base"].model_copy(update={"resolution": 32, "channels": 3})
    pack(larger, Path("larger"), workers=1, progress=False)
    said = "^(model|tuned) generates 28 px with 1 channels, but larger holds 32 px with 3; give the images that it was trained on"
    kept, cache = Path("other-evaluation"), Path("no-cache")
    for checkpoint in ("model", "tuned"):
        with pytest.raises(GeneratorError, match=said):
            evaluate(made.settings.evaluate, "atelier", Path(checkpoint), Path("larger"), kept, cache, device="cpu")
    assert not kept.exists() and not cache.exists()
    other = made.settings.data["base"].model_copy(update={"resolution": 32})
    settings = made.settings.model_copy(update={"data": {**made.settings.data, "base": other}})
    with pytest.raises(DataError, match=r"base: data\.base\.resolution is 32, but it was packed with 28"):
        _register(settings, "other-registration")


def test_a_product_that_there_is_not_is_refused(made: Made) -> None:
    folders = (Path(name) for name in (*FOLDERS["base"], "third-registration"))
    with pytest.raises(RegistrationError, match=r"--product third: section products .* has base, finetuned; name one of them"):
        _register_one(made.settings, "third", *folders)
    assert not Path("third-registration").exists()


def test_images_that_were_not_measured_against_are_refused(made: Made) -> None:
    folders = Path("model"), Path("evaluation"), Path("target"), Path("third-registration")
    with pytest.raises(RegistrationError, match="--data target: other images than those of evaluation; give those"):
        _register_one(made.settings, "base", *folders)
    assert not Path("third-registration").exists()


def test_the_finetuned_generator_names_its_parent(made: Made) -> None:
    info = json.loads((made.folder / "tuned" / "generator.json").read_text())
    assert info["parent"]["sha256"] == sha256_file(made.folder / "model" / "generator.safetensors")


def test_both_are_registered_once(made: Made) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{made.folder}/mlflow.db")
    for name in ("digits", "digits-finetuned"):
        assert set(client.get_registered_model(name).aliases) == {"champion"}
    again = _register(made.settings, "registered-again")
    assert {(line.gate, line.reason) for line in again} == {("kept", "it is the champion")}
    assert [line.registered for line in again] == ["version 1"] * 3
    assert len(client.search_model_versions("name = 'digits'")) == 1


def test_a_version_tells_how_it_was_made(made: Made) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{made.folder}/mlflow.db")
    tags = {name: client.get_model_version(name, "1").tags for name in ("digits", "digits-finetuned")}
    hashes = [json.loads((made.folder / name / "manifest.json").read_text())["content_hash"] for name in ("base", "target")]
    own, parents = json.loads(tags["digits-finetuned"]["atelier.data_sets"])
    assert [own["content_hash"], parents["content_hash"]] == hashes[::-1]
    assert own["raw_md5"] == f"{32 * 'a'}.dir" and "raw_md5" not in parents and own["licence"] == "none"
    assert tags["digits-finetuned"]["atelier.parent"] == "models:/digits/1"
    parameters = {key: value for key, value in made.settings.model_dump(mode="json").items() if value is not None}
    for name, section in (("digits", "train"), ("digits-finetuned", "finetune")):
        parameters[section]["precision"] = native(torch.device("cpu"))  # what auto was here is what makes the same bytes
        version = client.get_model_version(name, "1")
        kept = client.download_artifacts(version.run_id or "", tags[name]["atelier.parameters_at"], str(made.folder))
        assert json.loads(Path(kept).read_text()) == parameters
        assert tags[name]["atelier.parameters_hash"] == fingerprint(parameters)
        assert tags[name]["atelier.seed"] == "0" and tags[name]["atelier.pipeline_run_id"]


def test_every_step_is_a_run_below_one_parent(made: Made) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{made.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("atelier")
    assert experiment
    runs = client.search_runs([experiment.experiment_id])
    steps = {run.data.tags["atelier.step"]: run for run in runs if "atelier.step" in run.data.tags}
    assert set(steps) == {
        "prepare_base", "prepare_target", "train", "finetune", "evaluate_base", "evaluate_finetuned", "register_base",
        "register_finetuned",
    }  # fmt: skip
    assert len({run.data.tags["mlflow.parentRunId"] for run in steps.values()}) == 1
    assert {run.info.status for run in steps.values()} == {"FINISHED"}


def test_the_table_shows_all_three_measurements(made: Made) -> None:
    assert read_lines(made.folder / "registration") == made.lines
    assert [(line.generator, line.measured_on) for line in made.lines] == [
        ("digits", "base images (folder)"),
        ("digits", "target images (folder)"),
        ("digits-finetuned", "target images (folder)"),
    ]
    assert all("efficientnet_lite0" in line.values[0][0] for line in made.lines)
    assert all((line.gate, line.aliases) == ("promoted", "champion") for line in made.lines)
    assert "- digits version 1: promoted, since it passes every floor" in markdown(made.lines)
    assert "| digits on base images (folder) |" in markdown(made.lines)


def test_the_same_run_again_ends_with_the_same_bytes(made: Made) -> None:
    before = folder_hash(made.folder / "model")
    from_the_finished_state = _train(made.settings, "again")
    from_nothing = _train(made.settings, "anew", states="other-states")
    for folder in (from_the_finished_state, from_nothing):
        after = folder_hash(folder)
        for name in ("generator.safetensors", "networks.safetensors"):
            assert after[name] == before[name]


def test_resume_goes_on_with_the_run_that_is_named(made: Made) -> None:
    (run,) = (made.folder / "states").glob("*")
    resumed = _train(made.settings, "resumed", states="never-used", resume=run)
    assert folder_hash(resumed)["generator.safetensors"] == folder_hash(made.folder / "model")["generator.safetensors"]
    assert not (made.folder / "never-used").exists()


def test_resume_of_finetuning_knows_where_it_began(made: Made) -> None:
    (run,) = (made.folder / "tuning").glob("*")
    _finetune(made.settings, "tuned-again", resume=run)
    assert folder_hash(made.folder / "tuned-again")["generator.json"] == folder_hash(made.folder / "tuned")["generator.json"]


def test_resume_refuses_another_run_and_names_the_difference(made: Made) -> None:
    (run,) = (made.folder / "states").glob("*")
    other = _changed(_changed(made.settings, "train", seed=1), "model", latent_dim=5)
    with pytest.raises(StateError, match=r"model\.latent_dim was 4 and is 5; settings\.seed was 0 and is 1"):
        _train(other, "never", resume=run)
    assert not (made.folder / "never").exists()
    assert list((made.folder / "states").glob("*")) == [run]


def test_resume_refuses_a_run_without_saves(made: Made) -> None:
    (run,) = (made.folder / "states").glob("*")
    empty = made.folder / "unsaved" / run.name
    empty.mkdir(parents=True)
    shutil.copyfile(run / "started-with.json", empty / "started-with.json")
    with pytest.raises(StateError, match="nothing was saved yet"):
        _train(made.settings, "never", resume=empty)


def test_init_from_begins_a_new_run(made: Made) -> None:
    registered = _changed(made.settings, "finetune", init_from="models:/digits@champion")
    _finetune(registered, "from-registry")
    info = json.loads((made.folder / "from-registry" / "generator.json").read_text())
    assert info["parent"]["sha256"] == sha256_file(made.folder / "model" / "generator.safetensors")
    begun = [json.loads(file.read_text())["init_from"] for file in (made.folder / "tuning").glob("*/started-with.json")]
    assert "models:/digits/1" in begun, "the version that the alias meant then"


def test_a_champion_that_was_measured_otherwise_is_measured_again(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    settings = _changed(_changed(made.settings, "evaluate", seed=3), "train", seed=5)
    challenger = _train(settings, "challenger", states="states-of-the-challenger")
    evaluate(settings.evaluate, "atelier", challenger, Path("base"), Path("measured-otherwise"), Path("cache"), device="cpu")
    client = mlflow.MlflowClient(f"sqlite:///{made.folder}/mlflow.db")

    def seed(version: str) -> int:
        tags = client.get_model_version("digits", version).tags
        return json.loads(tags["measurement.frechet_efficientnet_lite0"])["identity"]["seed"]

    assert seed("1") == 0
    folders = (challenger, Path("measured-otherwise"), Path("base"), Path("registered-otherwise"))
    (line,) = _register_one(settings, "base", *folders)
    assert "models:/digits/1, the champion, was measured in another way than the candidate" in capsys.readouterr().err
    assert seed("1") == seed("2") == 3
    assert line.gate in ("promoted", "refused") and "of champion version 1" in line.reason
    assert "does not compare" not in line.reason


@pytest.mark.parametrize("role", ["base", "finetuned"])
def test_a_generator_of_no_use_is_not_registered(made: Made, role: str, tmp_path: Path) -> None:
    checkpoint, evaluation, data = FOLDERS[role]
    copy = Path(shutil.copytree(made.folder / evaluation, tmp_path / "copy"))
    acceptance.write(copy, "fid is 900, above evaluate.max_distance = 400")
    with pytest.raises(RegistrationError, match=f"the {role} generator is rejected \\(fid is 900"):
        _register_one(made.settings, role, Path(checkpoint), copy, Path(data), tmp_path / "registration")
    assert not (tmp_path / "registration").exists()
