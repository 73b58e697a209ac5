"""The form of `python -m components.evaluate` that measures one set of image files against another."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from atelier.config.evaluation import Extractor, Layer
from atelier.data.image_files import open_images
from atelier.io.files import check_folders
from atelier.metrics.bias import remarks
from atelier.metrics.evaluator import Evaluation
from atelier.metrics.folders import check_metrics, measure_sets, of_files
from atelier.metrics.identity import Measurement, MetricError
from atelier.report.facts import interval_text, numbers, text
from atelier.training.distributed import choose_device

METRICS, EXTRACTOR = ("frechet", "kernel", "prdc"), "efficientnet_lite0"
WEIGHTS = {"efficientnet_lite0": "packaged", "inception": "published"}


def add_arguments(parser: argparse.ArgumentParser) -> list[str]:
    """Adds the arguments of this form to the parser, and returns their names."""
    group = parser.add_argument_group("two sets of image files")
    added = [
        group.add_argument("--generated", type=Path, metavar="PATH", help="folder or zip of the images to measure"),
        group.add_argument("--reference", type=Path, metavar="PATH", help="folder or zip of the real images"),
        group.add_argument(
            "--held-out", type=Path, metavar="PATH", help="folder or zip of real images that nothing was trained on"
        ),
        group.add_argument(
            "--metrics",
            type=_metrics,
            metavar="NAMES",
            help=f"with commas between (default: {','.join(METRICS)}); there are {', '.join(of_files())}",
        ),
        group.add_argument(
            "--extractor", choices=get_args(Extractor), help=f"the network whose features are compared (default: {EXTRACTOR})"
        ),
        group.add_argument(
            "--weights",
            metavar="FILE",
            help="file or s3:// URI (default: packaged for efficientnet_lite0; for inception the published file, fetched once)",
        ),
        group.add_argument("--layer", choices=get_args(Layer), help="of inception; 2048 is its default"),
        group.add_argument(
            "--seed",
            type=_seed,
            metavar="N",
            help="of the subsets of kernel and of whatever else is drawn (default: 0; torch-fidelity's is 2020)",
        ),
        group.add_argument("--json", action="store_true", help="print one JSON object instead of a table"),
    ]
    return [argument.dest for argument in added]


def measure_folders(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Measures and prints. A command line that lacks something ends with what to give. Raises MetricError and DataError."""
    if missing := [f"--{name}" for name in ("generated", "reference") if getattr(args, name) is None]:
        parser.error(f"give {' and '.join(missing)}, too: this form measures one set of images against another")
    extractor = args.extractor or EXTRACTOR
    weights = args.weights or WEIGHTS.get(extractor)
    if weights is None:
        parser.error(f"give --weights FILE: {extractor} comes with none")
    check_folders(args.cache)
    device = choose_device(args.device)
    generated, reference = open_images(args.generated), open_images(args.reference)
    held_out = open_images(args.held_out) if args.held_out else None
    evaluation = measure_sets(
        generated, reference, args.metrics or METRICS, extractor, weights, args.layer or "default", args.seed or 0,
        args.cache, device, held_out=held_out,
    )  # fmt: skip
    notes = remarks(evaluation.measurements, 0 if evaluation.features is None else evaluation.features.shape[1])
    sides = {"generated": generated, "reference": reference} | ({"held out": held_out} if held_out else {})
    notes += [f"{name}: {note}" for name, side in sides.items() for note in side.notes]
    if args.json:
        print(json.dumps(as_json(evaluation, notes)))
    else:
        show(evaluation, notes, Console())


def as_json(evaluation: Evaluation, notes: list[str]) -> dict[str, Any]:
    """Values by name; each measurement with its identity and 95 % interval (null where it is not known); what to know beside."""
    return {
        "values": evaluation.flat,
        "measurements": [{**one.to_dict(), "interval": one.interval} for one in evaluation.measurements],
        "class_distances": evaluation.class_distances,
        "notes": notes,
    }


def show(evaluation: Evaluation, notes: list[str], console: Console) -> None:
    """Prints the numbers as a table, then what they have in common, then the notes."""
    table = Table(box=SIMPLE_HEAD, header_style="bold")
    table.add_column("metric", overflow="fold")
    table.add_column("value", justify="right")
    table.add_column("95 % interval")
    table.add_column("better")
    described = numbers(evaluation)
    for one in evaluation.measurements:
        better = "higher" if one.higher_is_better else "lower"
        table.add_row(one.name, text(one), interval_text(one), better if one in described else "")
    console.print(table)
    lines = identity_lines(evaluation.measurements)
    lines += [f"distance of class {name}: {value:.6g}" for name, value in evaluation.class_distances.items()]
    lines += [f"note: {note}" for note in notes]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def identity_lines(measurements: Sequence[Measurement]) -> list[str]:
    """The parts of the identities, a line each; beside what most metrics have in common stands what is true of others."""
    lines = []
    for part in asdict(measurements[0].identity):
        if part in ("metric", "kind"):
            continue
        by_value: dict[str, list[str]] = {}
        for one in measurements:
            by_value.setdefault(str(getattr(one.identity, part)), []).append(one.name)
        most, *others = sorted(by_value.items(), key=lambda item: -len(item[1]))
        bare = not others or part != "parameters"  # which say nothing without the metric
        values = [most[0] if bare else _of(*most), *(_of(*other) for other in others)]
        lines.append(f"{part}: {'; '.join(values)}")
    return lines


def _of(value: str, names: list[str]) -> str:
    return f"{value} ({', '.join(names)})"


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**31 - 1}")
    return int(text)


def _metrics(names: str) -> list[str]:
    metrics = [name.strip() for name in names.split(",") if name.strip()]
    try:
        check_metrics(metrics)
    except MetricError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return metrics
