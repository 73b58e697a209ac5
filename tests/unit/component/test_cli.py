"""What every command line promises: help that teaches, one line for an error, exit codes."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path

import pytest

from atelier.training.preemption import Preempted
from components import cli
from tests.support.commands import run

COMPONENTS = ("fetch", "prepare", "train", "evaluate", "choose", "register")


@pytest.mark.parametrize("name", COMPONENTS)
def test_help_tells_purpose_example_and_paths(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--help") == 0
    text = capsys.readouterr().out
    assert f"python -m components.{name} --" in text
    assert "example:" in text
    assert "what the paths hold:" in text
    module = importlib.import_module(f"components.{name}")
    assert module.__doc__ and module.__doc__.splitlines()[0] in text


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.sed=1", "train.sed: unknown key"),
        ("train.seed=zero", "train.seed"),
        ("train.batch=-8", "train.batch"),
        ("nothing", "section.key=value"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_the_key(override: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run("prepare", "--section", "data.base", "--output", "packed", "--set", override)
    error = capsys.readouterr().err
    assert code == 1
    assert error.startswith("error: ") and error.count("\n") == 1
    assert said in error


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["prepare", "--section", "data.base", "--output", "packed", "--set", "data.base.path=nowhere"], "nowhere"),
        (
            ["prepare", "--section", "data.third", "--output", "packed"],
            "data.third: params.yaml has no such section, but data.base",
        ),
        (["train", "--data", "nowhere", "--output", "model"], "nowhere"),
        (["evaluate", "--checkpoint", "nowhere", "--data", "nowhere", "--output", "evaluation"], "nowhere"),
        (["train", "--section", "finetune", "--data", "nowhere", "--output", "model"], "--base"),
        (["register", "--show", "nowhere"], "nowhere"),
        (["train", "--data", "nowhere", "--output", "model", "--resume", "states/1234"], "states/1234"),
        (["train", "--data", "nowhere", "--output", "model", "--device", "abacus"], "abacus"),
    ],
)
def test_a_missing_thing_is_one_line_that_names_it(command: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(*command)
    error = capsys.readouterr().err
    assert code == 1
    assert error.startswith("error: ") and error.count("\n") == 1
    assert said in error


@pytest.mark.parametrize("section", ["train", "finetune"])
def test_resume_and_init_from_exclude_each_other(section: str, capsys: pytest.CaptureFixture[str]) -> None:
    beginnings = ("--resume", "states/x", "--init-from", "models/base")
    assert run("train", "--section", section, "--data", "d", "--output", "o", *beginnings) == 2
    assert "not allowed with argument" in capsys.readouterr().err


def test_register_names_the_arguments_that_it_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("register", "--checkpoint", "models/base") == 2
    error = capsys.readouterr().err
    assert "give --evaluation, --data, --output, --product (or --show FOLDER)" in error


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    def preempted() -> None:
        raise Preempted("stopped by SIGTERM; run the same command again")

    def interrupted() -> None:
        raise KeyboardInterrupt

    def broken() -> None:
        raise ZeroDivisionError

    codes = {}
    for main in (preempted, interrupted, lambda: None):
        with pytest.raises(SystemExit) as stop:
            cli.run(main)
        codes[main.__name__] = stop.value.code
    assert codes == {"preempted": 75, "interrupted": 130, "<lambda>": 0}
    assert "run the same command again" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):  # a defect of ours keeps its traceback
        cli.run(broken)


def test_a_user_without_a_home_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert run("prepare", "--output", "packed") == 1
    assert re.fullmatch(r"error: uid \d+ has no home folder, .*set HOME to one .*\n", capsys.readouterr().err)


def test_one_variable_names_the_certificates_for_every_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/bundle.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/other.pem")
    cli.configure_logging()
    assert os.environ["REQUESTS_CA_BUNDLE"] == "/other.pem"
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    cli.configure_logging()
    assert os.environ["REQUESTS_CA_BUNDLE"] == "/bundle.pem"
