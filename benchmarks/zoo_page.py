"""docs/zoo.md (between its markers) and docs/zoo.html, or pages of another name: what benchmarks/zoo.py found."""

from __future__ import annotations

import base64
import datetime
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined

from atelier.data.packed import PackedDataset
from atelier.io.files import atomic_write
from atelier.metrics.evaluator import Evaluation
from atelier.report.charts import number_text
from atelier.training.checkpoint import read_history
from benchmarks.trained import Trained

BEGIN, END = "<!-- results: make zoo writes what follows -->\n", "<!-- end of results -->\n"
COLUMNS = ("family", "distance", "interval or spread", "recall", "precision", "read", "G", "D", "images", "images/s", "minutes")
HOW_TO_READ = (
    "Each row is a discriminator, each column a generator: how often the discriminator finds a generated image more real than a "
    "real one of the same class that it was not trained with. 0.50 is chance, the equilibrium; 0.00 is a generator that never "
    "fools it."
)


def write(docs: Path, page: str, runs: Sequence[Trained], rates: np.ndarray, data: PackedDataset) -> None:
    """Writes both pages and a picture for each family; docs/`page`.md keeps what is around its markers.

    Raises ValueError if it has lost them.
    """
    first = [one for one in runs if one.seed == 0]
    about, rows, names = _about(first[0], data), _rows(first, runs), [one.family for one in first]
    for one in first:
        atomic_write(docs / "images" / f"{page}-{one.family}.png", (one.folder / "grid.png").read_bytes())
    path = docs / f"{page}.md"
    text = path.read_text(encoding="utf-8") if path.exists() else f"# The [zoo](zoo.md) once more\n\n{BEGIN}{END}"
    if BEGIN not in text or END not in text:
        raise ValueError(f"{path}: the line {BEGIN.strip()} or {END.strip()} is missing; put them back")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    atomic_write(path, before + BEGIN + _markdown(page, about, rows, names, rates) + END + after)
    pictures = {one.family: base64.b64encode((one.folder / "grid.png").read_bytes()).decode() for one in first}
    template = Environment(loader=PackageLoader("benchmarks", "."), undefined=StrictUndefined, autoescape=True).get_template(
        "zoo.html.j2"
    )
    equal = "images" if len({one.images for one in first}) == 1 else "minutes"
    html = template.render(
        equal=equal,
        about=about,
        columns=COLUMNS,
        rows=rows,
        names=names,
        rates=rates.tolist(),
        how=HOW_TO_READ,
        pictures=pictures,
    )
    atomic_write(docs / f"{page}.html", html)


def _about(one: Trained, data: PackedDataset) -> str:
    """On what, by what and where the numbers came about."""
    distance = one.evaluation.measurements[0]
    (cost, *_) = read_history(one.folder)["compute"]
    return (
        f"{len(data)} images of {data.resolution} px ({data.manifest.source['kind']}), {distance.identity.samples} generated, "
        f"{distance.name} (reference {distance.identity.reference[:12]}). {cost['device']}, {cost['threads']} threads, PyTorch "
        f"{torch.__version__}, {datetime.date.today().isoformat()}."
    )


def _rows(first: Sequence[Trained], runs: Sequence[Trained]) -> list[list[str]]:
    rows = []
    for one in first:
        distance = one.evaluation.measurements[0]
        values = [other.evaluation.measurements[0].value for other in runs if other.family == one.family]
        low, high = (min(values), max(values)) if len(values) > 1 else distance.interval or (math.nan, math.nan)
        around = f"{low:.1f} … {high:.1f}" + (f" ({len(values)} seeds)" if len(values) > 1 else "")
        shares = [_share(one.evaluation, kind) for kind in ("recall", "precision", "classifier_confident")]
        sizes = [f"{size / 1e6:.2f} M" for size in (one.generator_parameters, one.discriminator_parameters)]
        speed = [f"{one.images:,}", number_text(one.images_per_second), f"{one.seconds / 60:.1f}"]
        rows.append([one.family, f"{statistics.mean(values):.1f}", around, *shares, *sizes, *speed])
    return rows


def _share(evaluation: Evaluation, kind: str) -> str:
    found = evaluation.of_kind(kind)
    return f"{found.value:.0%}" if found else "–"


def _markdown(page: str, about: str, rows: list[list[str]], names: list[str], rates: np.ndarray) -> str:
    lines = ["\n" + about + "\n", _line(COLUMNS), _line(["---"] * len(COLUMNS)), *map(_line, rows), ""]
    lines += [f"**{name}**\n\n![images of {name}](images/{page}-{name}.png)\n" for name in names]
    lines += [
        "### The tournament\n",
        HOW_TO_READ + "\n",
        _line(["discriminator \\ generator", *names]),
        _line(["---"] * (len(names) + 1)),
    ]
    lines += [_line([name, *(f"{value:.2f}" for value in row)]) for name, row in zip(names, rates, strict=True)]
    return "\n".join(lines) + "\n\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
