"""compare: two versions beside each other, in numbers, in parameters, and in images of the same latents or pictures."""

from __future__ import annotations

import argparse
import base64
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.table import Table

from atelier.io.files import atomic_folder, check_output, read_json
from atelier.io.pictures import grid, png
from atelier.models.given import PictureError
from atelier.models.model import GeneratorInfo, load_generator, sample
from atelier.networks.base import Generator
from atelier.networks.inputs import required
from atelier.registry.commands.held_out import Sheet, place_of, translated
from atelier.registry.commands.listing import console, number
from atelier.registry.fetch import load_checkpoint
from atelier.registry.versions import PARAMETERS_AT, address, check_ours, measurements, resolve, uri
from atelier.report.facts import change_text, declared, flat, metric_title
from atelier.tracking.client import client, explained

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from atelier.metrics.identity import Measurement

PAGE = "comparison.html"
HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")  # its beginning is enough to see that it is another
COLUMNS, MAX_ROWS, ROWS_WITHOUT_CLASSES = 10, 20, 6


@dataclass(frozen=True)
class Side:
    """A version, what it was trained with, and its images."""

    version: ModelVersion
    info: GeneratorInfo
    measured: dict[str, Measurement]
    parameters: dict[str, str]
    sheet: Sheet

    @property
    def name(self) -> str:
        """models:/NAME/VERSION, with its aliases."""
        aliases = f" ({', '.join(sorted(self.version.aliases))})" if self.version.aliases else ""
        return uri(self.version) + aliases


@dataclass(frozen=True)
class Loaded:
    """A version with its generator, and all parameters of the pipeline that made it, as far as they were kept."""

    version: ModelVersion
    generator: Generator
    parameters: dict[str, Any]

    @property
    def translates(self) -> bool:
        """Whether it has to be given something."""
        return bool(required(self.generator.takes))


@dataclass(frozen=True)
class NumberRow:
    """A metric of both; `change` is B - A, or "" with a `remark` that says why they do not compare."""

    metric: str
    first: str
    second: str
    change: str
    better: str
    remark: str


def compare(args: argparse.Namespace) -> None:
    """Prints what differs, and writes a page with both versions' images."""
    check_output(args.output, PAGE)
    versions = [resolve(address(one)) for one in (args.first, args.second)]
    for version in versions:
        check_ours(version)
    with tempfile.TemporaryDirectory() as scratch:
        loaded = [_loaded(version, Path(scratch) / f"{n}") for n, version in enumerate(versions)]
        inputs = _inputs(args.inputs, loaded)
        first, second = (_side(one, args.seed, inputs) for one in loaded)
    rows, differing = numbers(first, second), parameters(first, second)
    _print(first, second, rows, differing)
    with atomic_folder(args.output, PAGE) as folder:
        for letter, side in (("a", first), ("b", second)):
            (folder / f"{letter}.png").write_bytes(png(grid(side.sheet.images, side.sheet.columns)))
        (folder / PAGE).write_text(page(first, second, rows, differing), encoding="utf-8")
    print(f"images beside each other: {args.output / PAGE}")


def numbers(first: Side, second: Side) -> list[NumberRow]:
    """Every metric that one of them has. Values of different identity are not compared, and what differs is said."""
    return [
        _row(one, first.measured.get(name), second.measured.get(name)) for name, one in (first.measured | second.measured).items()
    ]


def _row(either: Measurement, first: Measurement | None, second: Measurement | None) -> NumberRow:
    title = metric_title(either)
    mine, theirs = (number(one) if one else "not measured" for one in (first, second))
    if not (first and second):
        return NumberRow(title, mine, theirs, "", "", "")
    if differences := first.identity.differences(second.identity):
        return NumberRow(
            title, mine, theirs, "", "", HASH.sub(r"\1", f"not compared, for they differ in {'; '.join(differences)}")
        )
    change = second.value - first.value
    apart = first.interval and second.interval and (
        first.interval[1] < second.interval[0] or second.interval[1] < first.interval[0]
    )  # fmt: skip
    sides = {True: "B", False: "A"}[(change > 0) == second.higher_is_better]
    better = "" if not change else f"{sides} is {declared(either).better}" + ("" if apart else ", but the intervals overlap")
    return NumberRow(title, mine, theirs, change_text(change, either), better, "")


def parameters(first: Side, second: Side) -> list[tuple[str, str, str]]:
    """(key, value of A, value of B) of each that differs."""
    keys = sorted({*first.parameters, *second.parameters})
    pairs = [(key, first.parameters.get(key, "not there"), second.parameters.get(key, "not there")) for key in keys]
    return [(key, mine, theirs) for key, mine, theirs in pairs if mine != theirs]


def page(first: Side, second: Side, rows: list[NumberRow], differing: list[tuple[str, str, str]]) -> str:
    """The comparison as one HTML file with its pictures in it."""
    templates = Environment(
        loader=PackageLoader("atelier.registry.commands", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    drawn = [
        {
            "name": side.name,
            "picture": base64.b64encode(png(grid(side.sheet.images, side.sheet.columns))).decode(),
            "weights": weights,
        }
        for side, weights in ((first, _weights(first)), (second, _weights(second)))
    ]
    return templates.get_template("comparison.html.j2").render(
        sides=drawn, rows=rows, differing=differing, remarks=remarks(first, second)
    )


def remarks(first: Side, second: Side) -> list[str]:
    """What has to be known to read the pictures."""
    found = [*dict.fromkeys([first.sheet.caption, second.sheet.caption])]
    for side in (first, second):
        sampled = {one.identity.sampling for one in side.measured.values()}
        if side.sheet.content_hash and sampled and not any(side.sheet.content_hash in text for text in sampled):
            found.append(f"{side.name} was measured by records of another set, so that its training may have seen these.")
    sizes = [[kind.size for kind in side.info.takes.values() if kind.kind == "noise"] for side in (first, second)]
    if sizes[0] != sizes[1]:
        of_each = " and ".join(", ".join(map(str, of_side)) or "no" for of_side in sizes)
        found.append(f"Their latents have {of_each} dimensions, so only the seed is the same.")
    if first.info.classes != second.info.classes:
        found.append("They were trained on different classes; each row is the class of that number in each of them.")
    return found


def _loaded(version: ModelVersion, folder: Path) -> Loaded:
    generator = load_generator(load_checkpoint(uri(version), folder, networks=False))
    return Loaded(version, generator, _parameters(version, generator.info, folder))


def _inputs(given: Path | None, loaded: Sequence[Loaded]) -> Path | None:
    """Where the pictures lie that both are given: where --inputs says, else in the set that the first was measured by."""
    translators = [one for one in loaded if one.translates]
    if not translators and given:
        raise PictureError(f"--inputs {given}: both versions make images from seeds alone; leave it out")
    if given or not translators:
        return given
    version = translators[0].version
    return place_of(uri(version), version.name, translators[0].parameters)


def _side(of: Loaded, seed: int, inputs: Path | None) -> Side:
    """A version with its images: of latents by the seed, or of what `inputs` holds."""
    info: GeneratorInfo = of.generator.info
    if of.translates:
        assert inputs
        sheet = translated(of.generator, inputs, seed)
    else:
        classes = len(info.classes) if info.conditional else 0
        labels = torch.arange(min(classes, MAX_ROWS)).repeat_interleave(COLUMNS) if classes else None
        count = len(labels) if labels is not None else ROWS_WITHOUT_CLASSES * COLUMNS
        images = np.concatenate(list(sample(of.generator, count, seed, labels=labels)))
        same = "what stands at the same place came from the same latent and class. Nobody chose them."
        sheet = Sheet(images, COLUMNS, f"Both are generated from the same latents of seed {seed}: {same}")
    return Side(of.version, info, measurements(of.version), flat(of.parameters), sheet)


def _parameters(version: ModelVersion, info: GeneratorInfo, scratch: Path) -> dict[str, Any]:
    """All parameters of the pipeline that made a version where they were kept, else those in its generator.json."""
    kept = version.tags.get(PARAMETERS_AT)
    if not kept:
        return {"model": info.model, "train" if info.parent is None else "finetune": info.settings}
    with explained():
        file = client().download_artifacts(version.run_id or "", kept, str(scratch))
    values: dict[str, Any] = read_json(Path(file))
    return values


def _weights(side: Side) -> str:
    return str(side.version.tags.get("atelier.generator_sha256", ""))[:12]


def _print(first: Side, second: Side, rows: list[NumberRow], differing: list[tuple[str, str, str]]) -> None:
    table = Table(title=f"A: {first.name}\nB: {second.name}", title_justify="left")
    for head in ("metric", "A", "B", "B - A", ""):
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(row.metric, row.first, row.second, row.change, row.better or row.remark)
    console().print(table)
    if not differing:
        print("no parameter differs")
        return
    other = Table(title="Parameters that differ", title_justify="left")
    for head in ("parameter", "A", "B"):
        other.add_column(head, overflow="fold")
    for line in differing:
        other.add_row(*line)
    console().print(other)
