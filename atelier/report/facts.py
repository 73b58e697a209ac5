"""The facts that the HTML report and the model card share, gathered once as plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from atelier.config import training
from atelier.config.metrics import Value, value_of
from atelier.data.manifest import SPLITS, Manifest, SplitInfo
from atelier.errors import AtelierError
from atelier.metrics.bias import mostly_bias, of_real
from atelier.metrics.evaluator import Evaluation
from atelier.metrics.identity import IdentityMismatch, Measurement, compare
from atelier.models.model import REMEDY, WEIGHTS, GeneratorInfo, check_weights, model_settings, read_info
from atelier.report.charts import number_text
from atelier.training.checkpoint import read_history


class ReportError(AtelierError):
    """A checkpoint lacks what a report needs."""


@dataclass(frozen=True)
class MetricRow:
    """A number as people read it. `baseline` and `change` are "" without a baseline; `remark` says why two do not compare.

    `beside` is the same number of what a translation starts from and of what it may reach, "" where neither was measured. `bias`
    says how far apart real images in the same numbers are, "" where that was not measured; with `mostly_bias` that is most of the
    value.
    """

    name: str
    title: str
    value: str
    spread: str
    direction: str
    identity: dict[str, Any]
    baseline: str
    change: str
    better: bool | None
    remark: str
    beside: str
    bias: str
    mostly_bias: bool


@dataclass(frozen=True)
class Facts:
    """Everything about one generator: `rows` are its numbers, `classifier` those of the classifier that reads its images.

    `name` is "" where the caller gave none.
    """

    info: GeneratorInfo
    sha256: str
    family: str
    rows: list[MetricRow]
    classifier: list[MetricRow]
    class_shares: dict[str, float]
    class_distances: dict[str, float]
    real_shares: dict[str, float]
    baseline_name: str
    history: dict[str, Any]
    manifest: Manifest
    settings: dict[str, str]
    name: str

    @property
    def title(self) -> str:
        """One line: the generator and the images that it was measured against."""
        source = self.manifest.source
        images = source.get("description") or source.get("kind", "images")
        return f"{self.name and f'{self.name}: '}{self.family.partition(' (')[0]} generator, measured on {images}"


def gather(
    checkpoint: Path,
    evaluation: Evaluation,
    manifest: Manifest,
    baseline: Evaluation | None = None,
    baseline_name: str = "",
    settings: dict[str, Any] | None = None,
    name: str | None = None,
) -> Facts:
    """Reads the checkpoint folder. Raises ReportError and GeneratorError naming what is missing."""
    info = read_info(checkpoint)
    try:
        history = read_history(checkpoint)
    except (OSError, ValueError) as error:
        raise ReportError(f"{checkpoint}/history.json: cannot be read ({error}); {REMEDY}") from error
    return Facts(
        info=info,
        sha256=check_weights(checkpoint / WEIGHTS, info),
        family=model_settings(info, checkpoint).family.title,
        rows=[metric_row(one, evaluation, baseline) for one in numbers(evaluation)],
        classifier=[metric_row(one, evaluation, None) for one in numbers(evaluation, "classifier")],
        class_shares=evaluation.class_shares,
        class_distances=evaluation.class_distances,
        real_shares=manifest.class_shares("train"),
        baseline_name=baseline_name if baseline else "",
        history=history,
        manifest=manifest,
        settings=flat({"model": info.model, "training": info.settings, **(settings or {})}),
        name=name or "",
    )


def numbers(evaluation: Evaluation, subject: str = "generator") -> list[Measurement]:
    """The measurements that describe the generator, or else the classifier that reads its images, or the real images."""
    return [one for one in evaluation.measurements if declared(one).subject == subject]


def declared(measurement: Measurement) -> Value:
    """The declaration of the measurement's kind."""
    return value_of(measurement.kind, measurement.name)


def metric_row(measurement: Measurement, evaluation: Evaluation, baseline: Evaluation | None) -> MetricRow:
    """A measurement of an evaluation beside that of the baseline, compared only where their identities are equal."""
    measured = {one.name: one for one in evaluation.measurements}
    before, change, better, remark = "", "", None, ""
    if baseline is not None:
        other = next((one for one in numbers(baseline) if one.name == measurement.name), None)
        before = text(other) if other else "not measured"
        try:
            difference = compare(other, measurement) if other else None
        except IdentityMismatch as error:
            difference, remark = None, f"not compared: {error}"
        if difference is not None:
            change = change_text(difference, measurement)
            better = None if difference == 0 else (difference > 0) == measurement.higher_is_better
    return MetricRow(
        name=measurement.name,
        title=metric_title(measurement),
        value=text(measurement),
        spread=_spread(measurement, evaluation.spread.get(measurement.name)),
        direction=f"{'higher' if measurement.higher_is_better else 'lower'} is {declared(measurement).better}",
        identity=asdict(measurement.identity),
        baseline=before,
        change=change,
        better=better,
        remark=remark,
        beside="; ".join(f"{what}: {text(measured[name])}" for what, name in _beside(measurement) if name in measured),
        bias=of_real(measurement, measured),
        mostly_bias=mostly_bias(measurement, measured),
    )


def _beside(measurement: Measurement) -> list[tuple[str, str]]:
    """What may stand beside a measurement, with the name of its measurement."""
    prefixes = {"untranslated input": "input", "bicubic enlargement": "bicubic", "another input": "unrelated"}
    prefixes |= {"targets": "target", "images trained on": "floor", "held-out images": "held_out"}
    return [(what, f"{prefix}_{measurement.name}") for what, prefix in prefixes.items()]


def metric_title(measurement: Measurement) -> str:
    """A measurement's name for people; the space of a distance is part of it."""
    return declared(measurement).title_of(measurement.name)


def text(measurement: Measurement) -> str:
    """The value: shares as percentages, others with four digits."""
    if declared(measurement).form == "number":
        return number_text(measurement.value)
    return f"{measurement.value:.1%}"


def change_text(difference: float, measurement: Measurement) -> str:
    """A change of a number: shares in points, others with three digits."""
    if difference == 0:
        return "0"
    return f"{difference:+.3g}" if declared(measurement).form == "number" else f"{100 * difference:+.1f} points"


def interval_text(measurement: Measurement) -> str:
    """The 95 % interval in brackets, "" where it is not known."""
    if measurement.interval is None:
        return ""
    (low, high), form = measurement.interval, declared(measurement).form
    if form == "number":
        return f"({number_text(low)} … {number_text(high)})"
    if form == "share":
        low, high = max(low, 0.0), min(high, 1.0)
    return f"({low:.1%} … {high:.1%})"


def _spread(measurement: Measurement, spread: float | None) -> str:
    """The interval, and beside it the deviation over subsets where there were any."""
    over_subsets = f"± {spread:.2g} over subsets" if spread is not None else ""
    return f"{interval_text(measurement)} {over_subsets}".strip()


def ancestry(info: GeneratorInfo) -> list[dict[str, Any]]:
    """The generators this one descends from, nearest first."""
    chain, parent = [], info.parent
    while isinstance(parent, dict):
        chain.append(parent)
        parent = parent.get("parent")
    return chain


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values as {"section.key": text}."""
    result: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return result


def regularizers(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What regularized a training, by name, and clip; older files have each weight as a setting of its own, 0 for off."""
    found = settings.get("regularizers", {name: settings[name] for name in training.regularizers() if settings.get(name)})
    return found | ({"clip": settings["clip"]} if settings.get("clip") else {})


def privacy(info: GeneratorInfo) -> str:
    """What a differentially private training guarantees, and what it does not; "" of any other."""
    stated = info.privacy
    if not stated:
        return ""
    how = f"noise {stated['noise']:g}, norms up to {stated['largest_norm']:g}, {stated['steps']:,} steps of {stated['rate']:.2%}"
    of = f"of {stated['records']:,} images"
    parents = "" if info.parent is None else "; the images of what it was fine-tuned from are another matter"
    return (
        f"ε = {stated['epsilon']:.3g} at δ = {stated['delta']:g} ({how} {of}; {stated['accountant']}) for the weights. Curves, "
        f"numbers and pictures of real images here are not covered{parents}"
    )


def class_table(manifest: Manifest) -> list[tuple[str, list[int]]]:
    """Class names with their counts in each of `splits(manifest)`."""
    return [(name, [part.class_counts[n] for _, part in splits(manifest)]) for n, name in enumerate(manifest.classes)]


def splits(manifest: Manifest) -> list[tuple[str, SplitInfo]]:
    """The splits that the set has, train first."""
    return [(name, manifest.splits[name]) for name in SPLITS if name in manifest.splits]


def first(items: Sequence[Any], limit: int) -> tuple[list[Any], int]:
    """The first `limit` items and how many more there are."""
    return list(items[:limit]), max(len(items) - limit, 0)
