"""What the Python API refuses before it reads or trains anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from atelier import Project
from atelier.config.section import SettingsError
from tests.support.small import ROOT

ONE = "products={base: {name: digits, trained_by: train}}"


@pytest.mark.parametrize(
    ("overrides", "asked", "said"),
    [
        ([], lambda one: one.train("tune"), "tune: params.yaml has no such section to train by, but train and finetune"),
        ([], lambda one: one.sample(4, section="tune"), "tune: params.yaml has no such section to train by"),
        (["finetune=null", ONE], lambda one: one.train("finetune"), "finetune: params.yaml has no such section to train by"),
        ([ONE], lambda one: one.evaluate("finetune"), "products: none is trained by finetune; add one"),
        (
            ["finetune=null", ONE, "train.data={a: base}"],
            lambda one: one.train(),
            "names a, but task generation learns from data",
        ),
        ([], lambda one: one.sample(0), "count is 0; give 1 or more"),
    ],
)
def test_what_a_project_has_not_is_named(overrides: list[str], asked: Callable[[Project], object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        asked(Project.load(ROOT, overrides))
