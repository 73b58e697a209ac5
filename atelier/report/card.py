"""The model card: what a generator is, what it is for, how good it is, and where it comes from, in Markdown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from atelier.data.manifest import Manifest
from atelier.metrics.evaluate import Evaluation
from atelier.report import facts
from atelier.report.facts import Facts, MetricRow


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
        "Painting images like those it was trained on, for augmentation, tests and study. Nothing else was measured.",
        "## Images it was trained on",
        _data(known),
        "## Numbers",
        _numbers(known),
        "## Limits",
        _limits(known),
        "## How it was made",
        _making(known),
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
    colour = "colour" if info.channels == 3 else "grey"
    classes = f", conditioned on {len(info.classes)} classes ({_names(info.classes)})" if info.conditional else ""
    tuned = " It was fine-tuned from another generator." if info.parent else ""
    return (
        f"A {plain(known.family)} that paints {colour} images of {info.resolution} × {info.resolution} px{classes}. "
        f"The weights are those of the best checkpoint by measurement, after {info.images_seen:,} images.{tuned}"
    )


def _data(known: Facts) -> str:
    info, manifest = known.info, known.manifest
    here = info.data.get("content_hash") == manifest.content_hash
    source: dict[str, Any] = manifest.source if here else info.data.get("source", {})
    lines = [
        f"- Source: {plain(source.get('description') or source.get('kind') or 'not stated')}",
        f"- Licence: {plain(source.get('licence') or 'not stated')}",
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
    beside = bool(known.baseline_name)
    head = ["Metric", "Value", *([plain(known.baseline_name), "Change"] if beside else []), "Identity"]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in known.rows:
        value = f"{row.value} ({row.spread})" if row.spread else row.value
        cells = [
            f"{row.title}, {row.direction}",
            value,
            *([row.baseline, row.change or row.remark] if beside else []),
            _identity(row),
        ]
        lines.append(f"| {' | '.join(plain(cell) for cell in cells)} |")
    shares = ", ".join(f"{plain(name)} {share:.1%}" for name, share in known.class_shares.items())
    return "\n".join(lines) + (f"\n\nShare of each class as the classifier reads them: {shares}." if shares else "")


def _identity(row: MetricRow) -> str:
    one = row.identity
    return (
        f"{one['extractor']} (weights {str(one['weights'])[:12]}, {one['resize']}), {one['samples']} images ({one['sampling']}), "
        f"reference {str(one['reference'])[:12]} of {one['reference_count']}, seed {one['seed']}"
        + (f", {one['parameters']}" if one["parameters"] else "")
    )


def _limits(known: Facts) -> str:
    lines = ["- It knows only images like its training images, and repeats whatever is one-sided in them."]
    if not any(row.name == "fid" for row in known.rows):
        lines.append("- No FID was measured; distances in other feature spaces cannot be set beside published FIDs.")
    smallest = min(known.class_shares.items(), key=lambda item: item[1], default=None)
    if smallest and smallest[1] < 0.5 / len(known.class_shares):
        lines.append(f"- Class {plain(smallest[0])} is rare among its images ({smallest[1]:.1%}).")
    if known.info.code.get("dirty") == "true":
        lines.append("- It was trained with changes that are not in the git commit named below.")
    lines.append("- It may paint near copies of training images: see the nearest real images in the report.")
    return "\n".join(lines)


def _making(known: Facts) -> str:
    info = known.info
    lines = [
        f"- Weights (sha256): `{known.sha256}`",
        f"- Training: {info.images_seen:,} images, {info.step:,} steps, seed {info.seed}",
        *(f"- Code, {plain(part)}: `{_code(value)}`" for part, value in info.code.items()),
        *(f"- {plain(name)}: `{_code(value)}`" for name, value in known.settings.items()),
    ]
    for number, parent in enumerate(facts.ancestry(info)):
        what = "Fine-tuned from" if number == 0 else "which came from"
        lines.append(
            f"- {what}: `{_code(parent.get('sha256', ''))}`, trained on `{_code(parent.get('data', {}).get('content_hash', ''))}`"
        )
    return "\n".join(lines)


def _use(known: Facts, name: str) -> str:
    column = f', "class": [{known.info.classes[0]!r}]' if known.info.conditional else ""
    row = f'{{"seed": [0]{column}, "truncation": [1.0]}}'
    return (
        "```python\n"
        "import mlflow, pandas\n"
        f'model = mlflow.pyfunc.load_model("models:/{_code(name)}@champion")\n'
        f"images = model.predict(pandas.DataFrame({_code(row)}))  # uint8 [N, {known.info.resolution}, "
        f"{known.info.resolution}, {known.info.channels}]\n"
        "```"
    )


def _names(names: list[str], limit: int = 20) -> str:
    shown, more = facts.first(names, limit)
    return ", ".join(plain(name) for name in shown) + (f" and {more} more" if more else "")


def _code(value: Any) -> str:
    """Text between backticks, which therefore may hold none."""
    return " ".join(str(value).split()).replace("`", "'")
