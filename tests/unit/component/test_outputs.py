"""An output that cannot be written is refused before any work, by every command that writes one.

Nothing that the commands read exists, so an error about the output shows that it was looked at first. The places refuse root too:
a path below a file, and the file systems of the kernel.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import pytest

from atelier import command_line
from atelier.io.files import WriteError
from components import choose

TRAIN = ["components.train", "--data", "nowhere", "--init-from", "nowhere"]
FINETUNE = ["components.train", "--section", "finetune", "--data", "nowhere", "--base", "nowhere"]
EVALUATE = ["components.evaluate", "--data", "nowhere", "--checkpoint", "nowhere"]
FOLDERS = ["components.evaluate", "--generated", "nowhere", "--reference", "nowhere"]
REGISTER = [
    "components.register", "--product", "base", "--checkpoint", "nowhere", "--evaluation", "nowhere", "--data", "nowhere",
]  # fmt: skip
PREPARE = ["components.prepare", "--section", "data.base", "--set", "data.base.source=folder", "--set", "data.base.path=nowhere"]
COMMANDS = {
    "fetch": ["components.fetch", "--uri", f"s3://nowhere/files/md5/aa/{'b' * 30}", "--output", "PLACE"],
    "prepare": [*PREPARE, "--output", "PLACE"],
    "prepare a part": [*PREPARE, "--part", "1/2", "--output", "PLACE"],
    "merge": [*PREPARE, "--merge", "nowhere", "--output", "PLACE"],
    "train": [*TRAIN, "--output", "PLACE"],
    "train, states": [*TRAIN, "--output", "model", "--states", "PLACE"],
    "train, cache": [*TRAIN, "--output", "model", "--cache", "PLACE"],
    "finetune": [*FINETUNE, "--output", "PLACE"],
    "finetune, states": [*FINETUNE, "--output", "model", "--states", "PLACE"],
    "finetune, cache": [*FINETUNE, "--output", "model", "--cache", "PLACE"],
    "evaluate": [*EVALUATE, "--output", "PLACE"],
    "evaluate, cache": [*EVALUATE, "--output", "evaluation", "--cache", "PLACE"],
    "evaluate folders, cache": [*FOLDERS, "--cache", "PLACE"],
    "register": [*REGISTER, "--output", "PLACE"],
    "register, cache": [*REGISTER, "--output", "registration", "--cache", "PLACE"],
    "run-local": ["pipelines.__main__", "run-local", "--output", "PLACE"],
    "run-local, states": ["pipelines.__main__", "run-local", "--states", "PLACE"],
    "run-local, cache": ["pipelines.__main__", "run-local", "--cache", "PLACE"],
    "compile": ["pipelines.__main__", "compile", "--output", "PLACE"],
    "truncate": ["atelier.latent.__main__", "truncate", "nowhere", "--output", "PLACE"],
    "interpolate": ["atelier.latent.__main__", "interpolate", "nowhere", "--output", "PLACE"],
    "mix": ["atelier.latent.__main__", "mix", "nowhere", "--output", "PLACE"],
    "walk": ["atelier.latent.__main__", "walk", "nowhere", "--output", "PLACE.gif"],
    "project": ["atelier.latent.__main__", "project", "nowhere", "--image", "nowhere", "--output", "PLACE"],
    "breed": ["atelier.latent.__main__", "breed", "nowhere", "--output", "PLACE"],
    "directions": ["atelier.latent.__main__", "directions", "nowhere", "--output", "PLACE"],
    "edit": ["atelier.latent.__main__", "edit", "nowhere", "--directions", "nowhere", "--move", "x=1", "--output", "PLACE"],
    "explore": ["atelier.latent.__main__", "explore", "nowhere", "--data", "nowhere", "--output", "PLACE"],
    "explore, cache": ["atelier.latent.__main__", "explore", "nowhere", "--data", "nowhere", "--cache", "PLACE"],
    "compare": ["atelier.registry.__main__", "compare", "nowhere/1", "nowhere/2", "--output", "PLACE"],
    "export": ["atelier.registry.__main__", "export", "nowhere/1", "--output", "PLACE"],
    "sharpness": ["atelier.models.sharpness", "nowhere", "nowhere", "--sharpness", "0.5", "--output", "PLACE"],
    "published": ["atelier.models.published", "nowhere", "--output", "PLACE"],
}


def refusal(command: list[str], place: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What the command says on stderr, once it has ended with exit code 1."""
    module, *arguments = (part.replace("PLACE", place) for part in command)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(SystemExit) as stop:
        command_line.run(importlib.import_module(module).main)
    error = capsys.readouterr().err
    assert stop.value.code == 1 and error.startswith("error: ") and error.count("\n") == 1, error
    return error


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_place_below_a_file(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_text("x")
    error = refusal(COMMANDS[name], "file/below", capsys, monkeypatch)
    assert "file/below" in error and "cannot be written (Not a directory); choose another place" in error
    assert not [
        name for name in ("mlflow.db", "mlruns", "model", "models", "states", "cache", "evaluation") if Path(name).exists()
    ]


@pytest.mark.usefixtures("workspace")
@pytest.mark.skipif(sys.platform != "linux", reason="there is no /sys")
@pytest.mark.parametrize("name", ["prepare", "train", "train, states", "evaluate, cache", "truncate", "run-local"])
def test_a_file_system_that_takes_nothing(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(COMMANDS[name], "/sys/model", capsys, monkeypatch)
    assert "/sys/model" in error and "cannot be written (" in error


def test_both_folders_of_a_choice_are_tried_before_the_first_is_copied(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "file").write_text("x")
    trial = argparse.Namespace(checkpoint=tmp_path / "source", evaluation=tmp_path / "source")
    with pytest.raises(WriteError, match="file/below: cannot be written"):
        choose.keep(trial, tmp_path / "checkpoint", tmp_path / "file" / "below")  # type: ignore[arg-type]
    assert not (tmp_path / "checkpoint").exists()
