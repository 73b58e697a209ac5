"""A rejected generator is named with the number and the setting that reject it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atelier.metrics import acceptance
from atelier.metrics.evaluator import Evaluation
from atelier.metrics.identity import Identity, Measurement, MetricError


def number(value: float, metric: str = "frechet_efficientnet_lite0") -> Measurement:
    identity = Identity(
        metric=metric, extractor="e", weights="w", resize="r", samples=16, sampling="s", reference="f", reference_count=9,
        seed=0, parameters="",
    )  # fmt: skip
    return Measurement(value, None, identity, higher_is_better=False)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Evaluation([number(99.0)]), ""),
        (Evaluation([number(100.0)]), ""),
        (Evaluation([number(100.1)]), "frechet_efficientnet_lite0 is 100.1, above evaluate.max_distance = 100"),
        (Evaluation([number(100.1, "fid")]), "fid is 100.1, above"),
        (Evaluation([number(5.0, "kernel_efficientnet_lite0"), number(200.0)]), "frechet_efficientnet_lite0 is 200"),
        (Evaluation([number(5000.0, "kernel_efficientnet_lite0")]), ""),  # no Fréchet distance was asked for
        (Evaluation([number(1.0)], class_shares={"a": 0.99, "b": 0.01}), ""),
        (Evaluation([number(1.0)], class_shares={"a": 0.995, "b": 0.005}), "0.50% of the images are of class b, below"),
    ],
)
def test_the_limits_decide(found: Evaluation, said: str, measured: Callable[..., Any]) -> None:
    settings = measured(max_distance=100.0, min_class_share=0.01)
    reason = acceptance.reason(found, settings)
    assert reason.startswith(said) and bool(reason) == bool(said)


def test_a_reason_comes_back_as_it_was_written(tmp_path: Path) -> None:
    for reason in ("", "fid is 900"):
        acceptance.write(tmp_path, reason)
        assert acceptance.read(tmp_path) == reason


def test_what_was_said_before_is_read_until_it_is_said_anew(tmp_path: Path) -> None:
    (tmp_path / "verdict.json").write_text('{"usable": false, "objection": "fid is 900"}')
    assert acceptance.read(tmp_path) == "fid is 900"
    acceptance.write(tmp_path, "")
    assert acceptance.read(tmp_path) == ""


@pytest.mark.parametrize("content", [None, "", "[]", '{"accepted": true}'])
def test_a_missing_or_broken_file_accepts_nothing(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / acceptance.FILE).write_text(content)
    with pytest.raises(MetricError, match="evaluate again"):
        acceptance.read(tmp_path)
