"""Measures a generator against real images, and writes the numbers with their identities and a report.

Samples evaluate.samples images with a fixed seed and compares them with the training split of --data. With --baseline another
generator is measured in just the same way (same images, seed and count), so that the two may be set beside each other: the
base generator on the target images shows what fine-tuning was good for.

example:
  python -m components.evaluate --checkpoint models/base --data data/base --output evaluations/base
  python -m components.evaluate --checkpoint models/finetuned --baseline models/base --data data/target \\
      --output evaluations/finetuned

what the paths hold:
  --checkpoint  the generator (components.train, components.finetune); --baseline the one to set beside it
  --data        the packed real images
  --output      metrics.json (numbers, for DVC and Kubeflow), evaluation.json (each with its identity), verdict.json (whether the
                generator is of use, by evaluate.max_distance and min_class_share), report.html, grid.png, class_shares.csv,
                manifest.json of the images; baseline.json and baseline.png with --baseline
  --cache       statistics of the real images, by content hash; may be deleted at any time
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from atelier.data.manifest import NAME as MANIFEST
from atelier.data.packed import PackedDataset
from atelier.files import atomic_folder, atomic_write, canonical_json, check_output
from atelier.generator import load_generator
from atelier.metrics import verdict
from atelier.metrics.evaluate import Evaluation, Evaluator
from atelier.networks.layers import Generator
from atelier.pictures import png
from atelier.registry.tracking import step_run
from atelier.report.gallery import Neighbours, neighbours, picture, rows
from atelier.report.html import MAX_NEIGHBOURS, write_report
from atelier.settings import EvaluateSettings
from atelier.training.distributed import choose_device
from components import cli

METRICS, EVALUATION, BASELINE, REPORT = "metrics.json", "evaluation.json", "baseline.json", "report.html"
BASELINE_NAME = "base generator"
GRID, BASELINE_GRID, SHARES = "grid.png", "baseline.png", "class_shares.csv"


def evaluate(
    settings: EvaluateSettings,
    experiment: str,
    checkpoint: Path,
    data: Path,
    output: Path,
    cache: Path,
    baseline: Path | None = None,
    device: str = "auto",
    step: str = "evaluate_base",
) -> dict[str, Any]:
    """Measures the generator of `checkpoint` (and that of `baseline`) against the packed images of `data`.

    Writes the folder `output` and returns what is in its metrics.json. `step` is the name of the MLflow run in `experiment`.
    Raises GeneratorError, MetricError, DataError, ReportError.
    """
    check_output(output, METRICS)
    chosen = choose_device(device)
    generator = load_generator(checkpoint, chosen)
    other = load_generator(baseline, chosen) if baseline else None
    images = PackedDataset(data)
    parameters = {"evaluate": settings.model_dump(mode="json")}
    tags = {"atelier.generator_sha256": generator.sha256, "atelier.data_hash": images.content_hash}
    with step_run(step, experiment, parameters, tags) as run:
        evaluator = Evaluator(images, settings, cache, chosen)
        found, shown = _measured(generator, evaluator)
        before = _measured(other, evaluator)[0] if other else None
        metrics = {**found.flat, **({"baseline": before.flat} if before else {})}
        with atomic_folder(output, METRICS) as folder:
            atomic_write(folder / METRICS, canonical_json(metrics))
            found.write(folder / EVALUATION)
            verdict.write(folder, verdict.objection(found, settings))
            atomic_write(folder / SHARES, _shares(found, images))
            atomic_write(folder / MANIFEST, (data / MANIFEST).read_bytes())
            pictures = rows(generator, images, settings.seed)
            atomic_write(folder / GRID, png(picture(pictures)))
            beside = rows(other, images, settings.seed) if other else []
            if before:
                before.write(folder / BASELINE)
                atomic_write(folder / BASELINE_GRID, png(picture(beside)))
            write_report(
                folder / REPORT,
                checkpoint,
                found,
                images,
                pictures,
                neighbours=_nearest(shown, found, evaluator, generator),
                baseline=before,
                baseline_name=BASELINE_NAME,
                baseline_rows=beside,
                settings=parameters,
                name=step.removeprefix("evaluate_"),
            )
        run.log_metrics(dict(_flat(metrics)), generator.info.images_seen)
        run.log_picture("samples", output / GRID, generator.info.images_seen)
        run.log_file(output / REPORT)
        run.log_file(output / EVALUATION)
    return metrics


def _measured(generator: Generator, evaluator: Evaluator) -> tuple[Evaluation, np.ndarray]:
    """The evaluation of a generator, and the first images of it, which have kept their features."""
    first: list[np.ndarray] = []

    def watched() -> Iterator[np.ndarray]:
        for batch in evaluator.sample(generator, generator.info.classes):
            if sum(map(len, first)) < MAX_NEIGHBOURS:
                first.append(batch)
            yield batch

    evaluation = replace(evaluator(watched()), generator=generator.sha256)
    return evaluation, np.concatenate(first)[:MAX_NEIGHBOURS]


def _nearest(shown: np.ndarray, evaluation: Evaluation, evaluator: Evaluator, generator: Generator) -> Neighbours | None:
    """The real images nearest to the shown ones; None when nothing was measured by features."""
    if evaluation.features is None or evaluator.reference is None or evaluator.extractor is None:
        return None
    space = f"{evaluator.extractor.name} features"
    names = evaluator.drawn(generator)[: len(shown)]
    return neighbours(shown, evaluation.features, evaluator.reference, evaluator.dataset, space, classes=names)


def _shares(evaluation: Evaluation, images: PackedDataset) -> str:
    """Share of each class among generated and real images as CSV; a head alone when no classifier was asked for."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["class", "generated", "real"])
    real = images.manifest.class_shares(images.split)
    for name, share in evaluation.class_shares.items():
        writer.writerow([name, round(share, 6), round(real[name], 6)])
    return buffer.getvalue()


def _flat(metrics: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in metrics.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", number) for inner, number in value.items())
        else:
            yield name, value


def main() -> None:
    """The command line."""
    parser = cli.parser("evaluate", __doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FOLDER", help="the generator to measure")
    parser.add_argument("--baseline", type=Path, metavar="FOLDER", help="a generator to measure beside it")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="the packed real images")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where numbers and report go")
    parser.add_argument("--cache", type=Path, default=Path("cache"), metavar="FOLDER", help="default: cache")
    parser.add_argument("--device", default="auto", help="auto (default: the GPU where there is one), cpu or cuda")
    parser.add_argument("--stage", default="evaluate", metavar="NAME", help="name of the MLflow run (default: evaluate)")
    args = parser.parse_args()
    settings = cli.settings(args)
    metrics = evaluate(
        settings.evaluate,
        settings.registry.experiment,
        args.checkpoint,
        args.data,
        args.output,
        args.cache,
        args.baseline,
        args.device,
        args.stage,
    )
    for name, value in _flat(metrics):
        print(f"{name} {value:.6g}")
    if objection := verdict.read(args.output):
        print(f"of no use: {objection}")
    print(f"report: {args.output / REPORT}")


if __name__ == "__main__":
    cli.run(main)
