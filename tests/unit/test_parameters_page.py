"""What explains params.yaml to people: every key has a sentence, `explain` finds it, docs/parameters.md has all of them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from atelier.config import __main__ as command
from atelier.config import reference
from atelier.config.section import SettingsError, values_of
from atelier.config.settings import load
from atelier.config.tasks import task_settings

ROOT = Path(__file__).parents[2]
VALUES = dict(values_of(load(ROOT / "params.yaml")))


def test_every_key_has_a_sentence_and_a_value() -> None:
    explained = reference.all_keys()
    written = {re.sub(r"^(data|products)\.\w+\.", r"\1.NAME.", key) for key in VALUES}
    assert explained.keys() >= written and all(field.description for field in explained.values())
    of_trainings = tuple(
        f"{name}.{part}." for name in ("train", "finetune") for part in ("regularizers", "privacy", *task_settings())
    )
    of_products = tuple(f"products.NAME.{key}" for key in ("data", "inputs", "part"))
    may_be_left_out = ("model.", *of_trainings, *of_products, "cluster.", "data.NAME.fields.", "data.NAME.group_by", "detect.")
    assert all(key.startswith(may_be_left_out) for key in explained.keys() - written)


def test_the_page_is_what_the_classes_say() -> None:
    remedy = "run python -m atelier.config reference > docs/parameters.md"
    assert (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8") == reference.page(VALUES), remedy


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        ("train.beta1", ["train.beta1: Adam's beta1", "allowed: number ≥ 0 < 1", "here: 0.0"]),
        ("train.r1", ["train.regularizers.r1: weight gamma of the R1 penalty", "allowed: number ≥ 0", "here: 1.0"]),
        ("train.regularizers.zcr_generator", ["large, usually 0.5", "not set"]),
        ("train.compile", ["allowed: true or false", "here: false"]),
        ("gate.primary", ["allowed: cas_lost, frechet, kernel"]),
        ("model.mlp.hidden", ["allowed: list of: whole number > 0 (not empty)", "here: [256]"]),
        ("gate", ["gate.primary: ", "gate.min_delta: "]),
        ("data.target.margin", ["data.target.margin: ", "allowed: whole number", "here: 4"]),
        ("data.base", ["data.NAME.source: mnist-5k (embedded)", "data.NAME.licence: "]),
        ("data.base.fields.input.from", ["data.base.fields.input.from: where the source has it", "here: not set"]),
        ("products.base.name", ["products.base.name: its name in the registry", "here: digits"]),
        ("data.NAME.source", ["here: mnist-5k or digits-1797"]),
    ],
)
def test_explain(key: str, lines: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["config", "--params", str(ROOT / "params.yaml"), "explain", key])
    command.main()
    told = capsys.readouterr().out
    assert all(line in told for line in lines)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("r1", "train.regularizers.r1 or finetune.regularizers.r1"),
        ("train.lr_generater", "train.lr_generator"),
        ("zzz", "the sections are data, model"),
    ],
)
def test_a_wrong_key_is_told(key: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=hint):
        reference.explain(key, VALUES)
