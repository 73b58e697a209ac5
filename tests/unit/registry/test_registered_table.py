"""What belongs together is registered, and the table that is shown later says what the registry says then."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atelier.config.settings import Settings, load
from atelier.io.files import atomic_write, canonical_json, sha256_file
from atelier.metrics.evaluator import Evaluation
from atelier.registry.register import register as register_generator
from atelier.tracking.client import client
from atelier.tracking.step_run import step_run
from components.register import Line, RegistrationError, main, of_now, read_lines, register
from tests.support.small import ROOT


OVERRIDES = ["registry.experiment=registry tests", "products.base.name=table", "products.finetuned.name=tuned"]


@pytest.fixture
def settings() -> Settings:
    return load(ROOT / "params.yaml", OVERRIDES)


@pytest.fixture
def made(tracking: Path, make_checkpoint: Callable[..., Path]) -> Line:
    """A line of the table about a version that is registered."""
    with step_run("register", "registry tests", {}, required=True) as run:
        version = register_generator(run, "shown", make_checkpoint("shown", seed=20), [], "A card.")
    for alias in ("challenger", "champion"):
        client().set_registered_model_alias("shown", alias, str(version.version))
    return Line(
        generator="shown", version=version.version, sha256=version.sha256, aliases="as registered", gate="promoted",
        reason="it passes every floor, and there was no champion", measured_on="base images", values=[["distance", "1.0"]],
        report="report.html",
    )  # fmt: skip


@pytest.mark.parametrize("wrong", ["base", "tuned", "baseline"])
def test_an_evaluation_of_another_generator_is_refused(
    settings: Settings, make_checkpoint: Callable[..., Path], measurement: Callable[..., Any], tmp_path: Path, wrong: str
) -> None:
    checkpoints = {"base": make_checkpoint("base", seed=1), "tuned": make_checkpoint("tuned", seed=2)}
    hashes = {name: sha256_file(folder / "generator.safetensors") for name, folder in checkpoints.items()}
    files = {
        "base": (tmp_path / "about-base" / "evaluation.json", "base"),
        "tuned": (tmp_path / "about-tuned" / "evaluation.json", "tuned"),
        "baseline": (tmp_path / "about-tuned" / "baseline.json", "base"),
    }
    for name, (file, about) in files.items():
        sha256 = hashes[about] if name != wrong else hashes["tuned" if about == "base" else "base"]
        Evaluation([measurement(1.0)], generator=sha256).write(file)
    product: Any = "base" if wrong == "base" else "finetuned"
    name = "base" if wrong == "base" else "tuned"
    parent = tmp_path / "registered"
    line = Line(**dict.fromkeys(Line.__dataclass_fields__, "") | {"sha256": hashes["base"], "version": 1, "values": []})  # type: ignore[arg-type]
    atomic_write(parent / "summary.json", canonical_json([vars(line)]))
    file, about = files[wrong]
    owner = parent if wrong == "baseline" else checkpoints[about]
    said = rf"{file.parent}: {file.name} .* another generator than that of {owner}; evaluate it again"
    folders = (checkpoints[name], tmp_path / f"about-{name}", tmp_path, tmp_path / "registration", tmp_path / "cache")
    with pytest.raises(RegistrationError, match=said):
        register(settings, *folders, product=product, parent=parent if name == "tuned" else None)
    assert not (tmp_path / "registration").exists()


def test_the_aliases_are_those_of_now(made: Line) -> None:
    (line,), remark = of_now([made])
    assert (line.aliases, remark) == ("challenger, champion", "")
    client().delete_registered_model_alias("shown", "champion")
    client().set_registered_model_alias("shown", "old", "1")
    assert of_now([made])[0][0].aliases == "challenger, old"


def test_a_version_that_is_gone_is_named(made: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    another = Line(**{**vars(made), "sha256": "0" * 64})  # its number was given to another generator
    later = Line(**{**vars(made), "version": 99})
    lines, remark = of_now([made, another, later])
    assert [line.aliases for line in lines][1:] == ["not in the registry"] * 2
    assert "`dvc repro --single-item --force` with the names of the stages that register" in remark
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'gone.db'}")
    assert of_now([made])[0][0].aliases == "not in the registry"
    assert not (tmp_path / "gone.db").exists()


def test_the_registrations_of_a_project_are_one_table(tmp_path: Path) -> None:
    """As the folder of before, which held all of them."""
    lines = [Line(**dict.fromkeys(Line.__dataclass_fields__, name)) for name in ("first", "second")]  # type: ignore[arg-type]
    atomic_write(tmp_path / "before" / "summary.json", canonical_json([vars(line) for line in lines]))
    for folder, line in zip(("base", "finetuned"), lines, strict=True):
        atomic_write(tmp_path / "now" / folder / "summary.json", canonical_json([vars(line)]))
    assert read_lines(tmp_path / "before") == read_lines(tmp_path / "now") == lines


def test_without_the_registry_the_table_says_so(
    made: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    (tmp_path / "summary.json").write_text(canonical_json([vars(made)]))
    monkeypatch.setattr(sys, "argv", ["register", "--show", str(tmp_path)])
    main()
    shown = capsys.readouterr().out
    assert "version 1" in shown and "as registered" in shown
    assert "shown version 1: promoted, since it passes every floor" in shown
    assert "The aliases are those of the registration: MLflow at http://127.0.0.1:9 cannot be used" in shown
