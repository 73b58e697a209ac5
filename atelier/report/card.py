"""The model card: what a generator is, what it is for, how good it is, where it comes from and what it cost, in Markdown.

MLflow's PostgreSQL keeps 5,000 characters of a version's description. So each thing stands there once, and what users can
make long is cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any

from atelier.config.metrics import declared_values
from atelier.data.manifest import Manifest
from atelier.metrics.evaluator import Evaluation
from atelier.models import pyfunc
from atelier.models.model import INTERPOLATED
from atelier.networks.inputs import Label, required
from atelier.report import compute, facts
from atelier.report.facts import Facts, MetricRow

MAX_CLASSES, MAX_SHARES, MAX_PARENTS = 20, 10, 2
MARKS = "Its images say that they are generated (text, XMP; C2PA with a key) until they are saved again."
MAX_NAME, MAX_LINE, MAX_LIST = 40, 100, 150
PARAMETERS = (
    "objective",
    "batch",
    "lr_generator",
    "lr_discriminator",
    "freeze_discriminator",
    "augment",
    "precision",
)


def model_card(
    checkpoint: Path,
    evaluation: Evaluation,
    manifest: Manifest,
    name: str,
    baseline: Evaluation | None = None,
    baseline_name: str = "baseline",
) -> str:
    """The card of a checkpoint folder that is registered as `name`; equal inputs give equal text.

    `manifest` is that of the images it was measured against; `baseline` as in html.write_report. Raises ReportError and
    GeneratorError naming what the folder lacks.
    """
    known = facts.gather(Path(checkpoint), evaluation, manifest, baseline, baseline_name)
    parts = [
        f"# {plain(name)}",
        _summary(known),
        "## Intended use",
        _intended(known),
        "## Images it was trained on",
        _data(known),
        "## Numbers",
        _numbers(known),
        "## Limits",
        _limits(known, {one.kind: one.value for one in evaluation.measurements}),
        "## How it was made",
        _making(known),
        "## Compute",
        _compute(known),
        "## Use",
        _use(known, name),
    ]
    return "\n\n".join(parts) + "\n"


def plain(text: str) -> str:
    """Text of users (names, licences) as Markdown that shows it and does nothing else: no markup, link, HTML or new line."""
    text = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_{}\[\]()#!|~])", r"\\\1", text)
    return re.sub(r"(?i)(https?|ftp|mailto|javascript|data):", r"\1&#58;", text)


def _summary(known: Facts) -> str:
    info = known.info
    color = "color" if info.channels == 3 else "gray"
    classes = (
        f", conditioned on {len(info.classes)} classes ({_listed(map(_cut, info.classes), MAX_CLASSES)})"
        if info.conditional
        else ""
    )
    tuned = " It was fine-tuned from another generator." if info.parent else ""
    weights = f"those of the best checkpoint by measurement, after {info.images_seen:,} images.{tuned}"
    if between := info.code.get(INTERPOLATED):
        weights = f"interpolated between two generators: {plain(between)}."
    return (
        f"A {plain(known.family)} that generates {color} images of {info.resolution} × {info.resolution} px{classes}. "
        f"The weights are {weights}"
    )


def _given(known: Facts) -> list[str]:
    """The columns that a caller has to fill."""
    return [kind.column(name) for name, kind in required(known.info.takes).items()]


def _intended(known: Facts) -> str:
    given = _given(known)
    making = (
        f"Making images of what it is given ({', '.join(given)}) like that of" if given else "Generating images like those of"
    )
    return f"{making} its training, for augmentation, tests and study. Nothing else was measured."


def _data(known: Facts) -> str:
    info, manifest = known.info, known.manifest
    here = info.data.get("content_hash") == manifest.content_hash
    source: dict[str, Any] = manifest.source if here else info.data.get("source", {})
    lines = [
        f"- Source: {_cut(source.get('description') or source.get('kind') or 'not stated', MAX_LINE)}",
        f"- Licence: {_cut(source.get('licence') or 'not stated', MAX_LINE)}",
    ]
    if here:
        splits = ", ".join(f"{plain(name)} {part.count:,}" for name, part in facts.splits(manifest))
        lines.append(
            f"- Images: {manifest.count:,} ({splits}); {manifest.duplicates} duplicates dropped, "
            f"{len(manifest.rejected)} rejected"
        )
    lines.append(f"- Content hash: `{_code(info.data.get('content_hash', 'not stated'))}`")
    if not here:
        lines.append(f"- It was measured against other images: `{_code(manifest.content_hash)}`")
    return "\n".join(lines)


def _numbers(known: Facts) -> str:
    """A table of the numbers, and under it each of their identities once, and once what all of these have in common."""
    beside = bool(known.baseline_name)
    head = [
        "Metric (↑ higher, ↓ lower is better)",
        "Value",
        *([_cut(known.baseline_name), "Change"] if beside else []),
        "Identity",
    ]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    identities = list(dict.fromkeys(_identity(row) for row in known.rows))
    common = [part for part in (identities[0] if len(identities) > 1 else ()) if all(part in one for one in identities)]
    for row in known.rows:
        cells = [
            f"{row.title} {'↑' if row.direction.startswith('higher') else '↓'}",
            f"{row.value} {row.spread}",
            *([row.baseline, row.change or ("another identity" if row.remark else "")] if beside else []),
            f"{identities.index(_identity(row)) + 1}; {row.identity['parameters']}",
        ]
        lines.append(f"| {' | '.join(plain(cell) for cell in cells)} |")
    parts = ["\n".join(lines)]
    if identities:
        own = [", ".join(part for part in one if part not in common) for one in identities]
        lines = [f"- Identity {number}: {plain(one)}" for number, one in enumerate(own, 1)]
        parts.append("\n".join(lines + ([f"- All of them: {plain(', '.join(common))}"] if common else [])))
    parts += [f"{plain(row.title)}, beside it {plain(row.beside)}." for row in known.rows if row.beside]
    parts += [f"{plain(row.title)}: {plain(row.bias)}." for row in known.rows if row.bias]
    if known.class_shares:
        parts.append(_shares(known.class_shares))
    if known.class_distances:
        parts.append(f"Class of the largest distance: {_cut(max(known.class_distances, key=known.class_distances.__getitem__))}.")
    if known.classifier:
        readings = "; ".join(f"{plain(row.title)}: {row.value}" for row in known.classifier)
        parts.append(f"The classifier itself: {readings}.")
    return "\n\n".join(parts)


def _identity(row: MetricRow) -> tuple[str, ...]:
    """Everything of an identity but the metric and its parameters, in parts."""
    one = row.identity
    return (
        f"{one['extractor']} (weights {str(one['weights'])[:12]}, {one['resize']})",
        f"{one['samples']} images ({one['sampling']})",
        f"reference {str(one['reference'])[:12]} of {one['reference_count']}",
        f"seed {one['seed']}",
    )


def _shares(shares: dict[str, float]) -> str:
    """The share of each class, or of many classes the rarest."""
    many = len(shares) > MAX_SHARES
    items = sorted(shares.items(), key=lambda item: item[1]) if many else shares.items()
    listed = _listed((f"{_cut(name)} {share:.1%}" for name, share in items), MAX_SHARES)
    return f"Share of each class as the classifier reads them{', the rarest first' if many else ''}: {listed}."


def _limits(known: Facts, measured: dict[str, float]) -> str:
    """The caveats; `measured` are the values by kind."""
    lines = ["- It knows only images like its training images, and repeats whatever is one-sided in them."]
    if not any(row.name == "fid" for row in known.rows):
        lines.append("- No FID was measured; distances in other feature spaces cannot be set beside published FIDs.")
    biased = [plain(row.title) for row in known.rows if row.mostly_bias]
    lines += [f"- Most of the {title} is bias, of few images: go by the kernel distance, which has none." for title in biased]
    real = known.real_shares
    scarce = {name: share / real[name] for name, share in known.class_shares.items() if real.get(name)}
    name = min(scarce, key=lambda name: scarce[name], default="")
    if name and scarce[name] < 0.5:
        share = known.class_shares[name]
        lines.append(f"- Class {_cut(name)} is rare among its images ({share:.1%}; {real[name]:.1%} of the real ones).")
    if known.info.code.get("dirty") == "true":
        lines.append("- It was trained with changes that are not in the git commit named below.")
    for _, value in declared_values():
        caveat = value.caveat.format(f"{measured[value.kind]:.1%}") if value.kind in measured else value.unmeasured
        lines += [f"- {caveat}"] if caveat else []
    return "\n".join([*lines, f"- {MARKS}"])


def _making(known: Facts) -> str:
    info = known.info
    parents, older = facts.first(facts.ancestry(info), MAX_PARENTS)
    listed = {name: info.settings[name] for name in PARAMETERS if name in info.settings} | facts.regularizers(info.settings)
    lines = [
        f"- Weights (sha256): `{known.sha256}`",
        f"- Training: {info.images_seen:,} images, {info.step:,} steps, seed {info.seed}",
        f"- Code: {', '.join(f'{plain(part)} `{_code(value)}`' for part, value in info.code.items())}",
        f"- Model: `{_dense(info.model)}`",
        f"- Parameters: `{_dense(listed)}`; all in generator.json",
    ]
    if guaranteed := facts.privacy(info):
        lines.append(f"- Differential privacy: {plain(guaranteed)}")
    for number, parent in enumerate(parents):
        what = "Fine-tuned from" if number == 0 else "which came from"
        data = str(parent.get("data", {}).get("content_hash", ""))[:12]
        lines.append(f"- {what}: `{_code(parent.get('sha256', ''))}`, trained on `{_code(data)}`")
    if older:
        lines.append(f"- and {older} before")
    return "\n".join(lines)


def _compute(known: Facts) -> str:
    """The cost of training, and an estimate of its energy."""
    record = known.history.get("compute", [])
    cost = _cut("; ".join(compute.spent(record)) or "not recorded", MAX_LIST)
    lines = [f"- Training with measurements: {cost}"]
    if record:
        lines.append(f"- {compute.estimate_text(record)}")
    if known.info.parent:
        lines.append("- Its parent's cost is in the parent's card")
    return "\n".join(lines)


def _use(known: Facts, name: str) -> str:
    """An example that loads it. It names no version: a card is written before its version has a number, and an alias moves on."""
    info = known.info
    cells = {"seed": "[0]"} if pyfunc.random_inputs(info) else {}
    labels = (kind.column(one) for one, kind in info.takes.items() if isinstance(kind, Label))
    cells |= {column: f"[{min(info.classes, key=len)!r}]" for column in labels}
    given = _given(known)
    cells |= {column: f"[{column}]" for column in given}
    cells |= {"truncation": "[1.0]"} if pyfunc.truncates(info) else {}
    files = "".join(f'{one} = base64.b64encode(open("{one}.png", "rb").read()).decode()\n' for one in given)
    row = ", ".join(f'"{column}": {value}' for column, value in cells.items())
    uri, side = f"models:/{_code(name)}", info.resolution
    return (
        f"Replace `<version>` by this version's number; `{uri}@champion` is the one in use:\n\n"
        "```python\n"
        f"import {'base64, ' * bool(given)}mlflow, pandas\n"
        f'model = mlflow.pyfunc.load_model("{uri}/<version>")\n'
        f"{files}"
        f"images = model.predict(pandas.DataFrame({{{row}}}))  # uint8 [N, {side}, {side}, {info.channels}]\n"
        "```"
    )


def _listed(items: Iterable[str], limit: int) -> str:
    """The first of the items, as many as are within `limit` and MAX_LIST characters, and how many more there are."""
    items = list(items)
    fit = sum(end <= MAX_LIST for end in accumulate(len(item) for item in items[:limit]))
    listed, more = facts.first(items, max(fit, 1))
    return ", ".join(listed) + (f" and {more} more" if more else "")


def _cut(text: str, limit: int = MAX_NAME) -> str:
    """Plain Markdown of the text, which is cut beyond `limit` characters."""
    text = " ".join(str(text).split())
    return plain(text if len(text) <= limit else f"{text[: limit - 1]}…")


def _dense(values: dict[str, Any]) -> str:
    return _code(", ".join(f"{name} {value}" for name, value in facts.flat(values).items()))


def _code(value: Any) -> str:
    """Text between backticks, which therefore may hold none."""
    return " ".join(str(value).split()).replace("`", "'")
