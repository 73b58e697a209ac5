"""A metric is one file and its name in the parameters: measured, refused, shown and judged by what the file declares."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atelier.config import metrics as declared
from atelier.config.metrics import Need
from atelier.config.registry import GateSettings
from atelier.data.packed import PackedDataset
from atelier.metrics import kinds
from atelier.metrics.evaluator import Evaluation, Evaluator, read_evaluation
from atelier.metrics.folders import check_metrics
from atelier.metrics.identity import Identity, Measurement, MetricError, compare
from atelier.networks.base import LatentGenerator
from atelier.networks.layers import ImageShape
from atelier.registry.gate import Contender, decide
from atelier.report import facts
from tests.support.evaluations import Measured, cut, dataset_fixture
from tests.support.small import ROOT

__all__ = ["dataset_fixture"]

TOY = """
import numpy as np

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Results

ERROR = Value(
    "toy_error", "Error per pixel", higher_is_better=False, form="share", decides=True, limit="max_toy_error",
    limit_text="share of a level", caveat="Its images are {} off their targets.",
)

class Levels:
    width = 1

    def read(self, sample):
        return np.abs(sample.images.astype(float) - sample.target).mean(axis=(1, 2, 3), dtype=np.float32)[:, None] / 255

class Toy(Metric):
    title = "mean absolute error"
    values = (ERROR,)
    needs = frozenset({Need.TARGET})

    def reader(self, real):
        return Levels()

    def __call__(self, view):
        errors = view.columns[:, 0]
        return Results([view.measurement(ERROR, float(errors.mean()), float(errors.std() / len(errors) ** 0.5), "of 255")])
"""


@pytest.fixture
def more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files are among the metrics."""
    (tmp_path / "more").mkdir()
    monkeypatch.setattr(kinds, "__path__", [*kinds.__path__, str(tmp_path / "more")])
    declared.metrics.cache_clear()
    yield tmp_path / "more"
    declared.metrics.cache_clear()
    for file in (tmp_path / "more").glob("*.py"):
        sys.modules.pop(f"atelier.metrics.kinds.{file.stem}", None)


@pytest.fixture
def toy(more: Path) -> None:
    """The file `toy.py` is among the metrics."""
    (more / "toy.py").write_text(TOY)


@pytest.fixture
def found(toy: None, dataset: PackedDataset, measured: Measured, tmp_path: Path, held_out: np.ndarray) -> Evaluation:
    """Images that are 51 of 255 levels off."""
    settings = measured(samples=64).model_copy(update={"metrics": ["toy"]})
    images = held_out[:64] // 2
    evaluator = Evaluator(dataset, settings, tmp_path / "cache", progress=False)
    refused = pytest.raises(MetricError, match=r"evaluate\.metrics: toy needs a target .* out and set gate\.max_toy_error: 1\.0")
    with refused:
        evaluator(cut(images))
    with refused:
        evaluator.measure(LatentGenerator(2, ImageShape(28, 1, 0)), ())
    return evaluator(cut(images, target=images + 51), having={Need.TARGET})


def test_it_is_measured_and_read_back(found: Evaluation, dataset: PackedDataset, tmp_path: Path) -> None:
    one = found["toy_error"]
    assert one.value == pytest.approx(0.2) and one.standard_error == pytest.approx(0, abs=1e-6)
    assert (one.kind, one.identity.extractor, one.identity.samples) == ("toy_error", "none", 64)
    assert (one.identity.reference, one.identity.reference_count) == (f"{dataset.content_hash}:train", 64)
    found.write(tmp_path / "evaluation.json")
    assert compare(read_evaluation(tmp_path / "evaluation.json")["toy_error"], one) == 0


def test_the_report_knows_its_title_and_what_it_is(found: Evaluation) -> None:
    (row,) = [facts.metric_row(one, found, found) for one in facts.numbers(found)]
    assert (row.title, row.value, row.direction, row.change) == ("Error per pixel", "20.0%", "lower is better", "0")


def test_the_gate_bounds_it_and_decides_by_it(found: Evaluation) -> None:
    one = found["toy_error"]
    champion, candidate = (
        Contender(number, str(number), {one.name: replace(one, value=value)}) for number, value in ((1, 0.3), (2, 0.2))
    )
    gate = GateSettings.model_validate({"primary": "frechet", "min_delta": 0.0}).model_copy(
        update={"primary": "toy_error", "max_toy_error": 0.25}
    )
    assert decide(candidate, champion, gate).outcome == "promoted"
    strict = gate.model_copy(update={"max_toy_error": 0.1})
    assert "toy_error is 20.00%, above gate.max_toy_error = 10.00%" in decide(candidate, champion, strict).reason
    assert "add toy to evaluate.metrics, or set gate.max_toy_error to 1" in decide(Contender(3, "3"), None, gate).reason


def test_files_alone_do_not_give_it(toy: None) -> None:
    with pytest.raises(MetricError, match="toy cannot be measured from sets of images: it needs a target for each"):
        check_metrics(["frechet", "toy"])


def test_the_example_of_the_documentation(
    more: Path, means: Any, dataset: PackedDataset, measured: Measured, tmp_path: Path, held_out: np.ndarray
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "metrics.md").read_text(), re.DOTALL)
    (more / "spread.py").write_text(example)
    settings = measured(samples=64).model_copy(update={"metrics": ["spread"]})
    found = Evaluator(dataset, settings, tmp_path / "cache", progress=False)(cut(held_out[:64]))
    assert found["spread_means"].value == pytest.approx(1, abs=0.1)
    assert facts.metric_title(found["spread_means"]) == "Spread of features in means"


def test_a_file_declares_one_metric(more: Path) -> None:
    (more / "none.py").write_text("from atelier.metrics.metric import Metric\n")
    with pytest.raises(TypeError, match=r"none\.py: declares 0 metrics; one file is one subclass of Metric"):
        declared.metrics()


def test_two_values_of_one_kind_are_refused(toy: None, more: Path) -> None:
    (more / "again.py").write_text(TOY)
    with pytest.raises(TypeError, match="several values are called toy_error, max_toy_error"):
        declared.metrics()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"limit": "min_far"}, "only a share has a limit"),
        ({"form": "share", "limit": "far"}, "named min_... or max_..."),
        ({"higher_is_better": True, "decides": True}, "better when lower"),
    ],
)
def test_what_the_gate_cannot_use_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        declared.Value(**{"kind": "far", "title": "Far", "higher_is_better": False, **wrong})


def test_an_evaluation_of_before_compares_with_one_of_now(tmp_path: Path) -> None:
    identity = Identity("frechet_efficientnet_lite0", "e", "w", "r", 16, "s", "f", 9, 0, "")
    now, path = Evaluation([Measurement(2.0, 0.1, identity, higher_is_better=False)]), tmp_path / "evaluation.json"
    now.write(path)
    values = json.loads(path.read_text())
    assert values["measurements"][0]["identity"].pop("kind") == "frechet"
    path.write_text(json.dumps(values))
    before = read_evaluation(path)
    assert before.measurements == now.measurements
    assert before.of_kind("frechet") == before["frechet_efficientnet_lite0"]


@pytest.mark.parametrize(
    ("name", "kind", "title"),
    [
        ("fid", "frechet", "FID"),
        ("frechet_efficientnet_lite0", "frechet", "Fréchet distance in efficientnet_lite0"),
        ("real_fid", "real_frechet", "FID between samples of real images"),
        ("real_frechet_onnx", "real_frechet", "Fréchet distance between samples of real images in onnx"),
        ("kid", "kernel", "KID"),
        ("kernel_dinov2", "kernel", "Kernel distance in dinov2"),
        ("extrapolated_fid", "frechet_infinity", "FID of endless images"),
        ("extrapolated_frechet_onnx", "frechet_infinity", "Fréchet distance of endless images in onnx"),
        ("worst_class_fid", "per_class", "Largest FID of a class"),
        ("worst_class_frechet_onnx", "per_class", "Largest Fréchet distance of a class in onnx"),
        ("inception_score", "inception_score", "Inception Score"),
        ("class_score_onnx", "inception_score", "Score of Salimans et al. in onnx"),
        ("path_length_inception", "path_length", "Perceptual path length in inception"),
        ("precision", "precision", "Precision: its images that look real"),
        ("memorised", "memorised", "Memorised (1% without copying)"),
        ("class_share_min", "class_share_min", "Share of the rarest class"),
        ("of_somebody_else", "of_somebody_else", "of_somebody_else"),
    ],
)
def test_a_record_without_kinds_tells_them_by_its_names(name: str, kind: str, title: str) -> None:
    identity = Identity(name, "e", "w", "r", 16, "s", "f", 9, 0, "")
    assert identity.kind == kind and not identity.differences(replace(identity, kind=kind))
    assert declared.value_of(kind, name).title_of(name) == title
