"""Measures a generator against real images, and writes the numbers with their identities and a report.

Samples evaluate.samples images with a fixed seed and compares them with the training split of --data; images that are made from
others are made from held-out ones, and compared with the held-out split. With --baseline another
generator is measured in just the same way (same images, seed and count), so that the two may be set beside each other: that from
which fine-tuning began shows what fine-tuning was good for.

With --generated and --reference it measures one folder or zip of images against another instead, needs no params.yaml, and only
prints. Images of one set have one size; sub-folders are classes. With --held-out, real images that the generator never saw, it
also tells what a set that is to stand for the real one keeps of them, and what it gives away.

example:
  python -m components.evaluate --checkpoint models/base --data data/base --output evaluations/base
  python -m components.evaluate --checkpoint models/finetuned --baseline models/base --data data/target \\
      --output evaluations/finetuned
  python -m components.evaluate --generated samples/ --reference photos.zip --metrics frechet,kernel,prdc
  python -m components.evaluate --generated samples/ --reference photos.zip --extractor inception --layer 768 \\
      --weights inception.pth --json
  python -m components.evaluate --generated anonymised/ --reference trained-on.zip --held-out others.zip \\
      --metrics membership,statistics,memorised

what the paths hold:
  --checkpoint  the generator (components.train); --baseline the one to set beside it
  --data        the packed real images; --inputs those that the generator is given, where it takes pictures of another set
  --output      metrics.json (numbers, for DVC and Kubeflow), evaluation.json (each with its identity), acceptance.json (whether
                evaluate.max_distance and min_class_share accept it), report.html, grid.png, class_shares.csv,
                manifest.json of the images; pictures.csv where single images have values (PSNR, SSIM, ...), each with the
                place of its record; baseline.json with --baseline, whose images stand in grid.png where both are made from
                records, else in baseline.png
  --generated   images to measure, --reference the real ones: a folder with its sub-folders, or a zip
  --cache       statistics of the real images, by content hash; may be deleted at any time
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from atelier.config.evaluation import EvaluateSettings
from atelier.config.metrics import Need
from atelier.data.manifest import NAME as MANIFEST
from atelier.io.files import atomic_folder, atomic_write, canonical_json, check_folders, check_output, read_json
from atelier.io.pictures import png
from atelier.metrics import acceptance
from atelier.metrics.metric import uses_of
from atelier.report.page import page
from atelier.tracking.closing import REJECTION
from atelier.tracking.step_run import step_run
from components import cli
from components.contract import CACHE, DEVICE, Dataset, In, Model, Option, Out, Page, component
from components.contract import Evaluation as Evaluated

# What loads PyTorch (seconds) is imported by the functions that need it: a pipeline is made of this component's contract.
if TYPE_CHECKING:
    from atelier.data.packed import PackedDataset
    from atelier.metrics.evaluator import Evaluation, Evaluator
    from atelier.networks.base import Generator
    from atelier.report.gallery import Neighbors, Row
    from atelier.tasks.sampling import Sampler

METRICS, EVALUATION, BASELINE, REPORT = "metrics.json", "evaluation.json", "baseline.json", "report.html"
BASELINE_NAME = "baseline"
GRID, BASELINE_GRID, SHARES, OF_EACH = "grid.png", "baseline.png", "class_shares.csv", "pictures.csv"
VARIANTS = 6  # pictures of a record that is shown with inputs that may be drawn of it, itself among them


def _numbers(folder: Path) -> tuple[dict[str, float], dict[str, str]]:
    from atelier.metrics.evaluator import read_evaluation

    identities = {one.name: one.to_dict()["identity"] for one in read_evaluation(folder / EVALUATION).measurements}
    return dict(_flat(read_json(folder / METRICS))), {"identity": canonical_json(identities)}


@component(
    reads={"settings": "evaluate", "experiment": "registry.experiment"},
    computes=True,
    reusable=True,
    pages={
        "report": Page("HTML", lambda _, folder: (folder / REPORT).read_text(encoding="utf-8")),
        "samples": Page("HTML", lambda _, folder: page("samples", (folder / GRID).read_bytes())),
    },
    numbers=_numbers,
    reason=acceptance.read,
)
def evaluate(
    settings: EvaluateSettings,
    experiment: str,
    checkpoint: Annotated[In[Model], "the generator to measure"],
    data: Annotated[In[Dataset], "the packed real images"],
    output: Annotated[Out[Evaluated], "where numbers and report go"],
    cache: Annotated[Path, CACHE],
    inputs: Annotated[In[Dataset] | None, "the packed images that it is given, where these are others than --data"] = None,
    baseline: Annotated[In[Model] | None, "a generator to measure beside it"] = None,
    part: Annotated[str, Option("which generator of a checkpoint that holds several", metavar="NAME")] = "",
    device: Annotated[str, DEVICE] = "auto",
    step: Annotated[str, Option("name of the MLflow run (default: evaluate)", metavar="NAME", flag="--stage")] = "evaluate",
) -> dict[str, Any]:
    """Measures the generator of `checkpoint` (and that of `baseline`) against the packed images of `data`.

    A generator that takes pictures is given those of `inputs`, or else those that belong to its images in `data`. `part` names
    the generator where the checkpoint holds several.
    Writes the folder `output` and returns what is in its metrics.json. `step` is the name of the MLflow run in `experiment`.
    Under torchrun the ranks share the work, and the first one writes.
    Raises GeneratorError, MetricError, DataError, ReportError.
    """
    from atelier.metrics.evaluator import Evaluator
    from atelier.models.model import GeneratorError, load_generator, part_of
    from atelier.report.gallery import picture
    from atelier.report.html import write_report
    from atelier.tasks.find import measured_sets
    from atelier.training.distributed import choose_device, ranks

    check_output(output, METRICS)
    check_folders(cache)
    checkpoint, baseline = part_of(checkpoint, part), baseline and part_of(baseline, part)
    chosen = choose_device(device)
    generator = load_generator(checkpoint, chosen)
    other = load_generator(baseline, chosen) if baseline else None
    images, given = measured_sets(generator, data, inputs, settings.samples)
    for folder, one in ((checkpoint, generator), (baseline, other)):
        if one and (one.shape.resolution, one.shape.channels) != (images.resolution, images.channels):
            raise GeneratorError(
                f"{folder} generates {one.shape.resolution} px with {one.shape.channels} channels, but {data} holds "
                f"{images.resolution} px with {images.channels}; give the images that it was trained "
                "on, or others that were packed like those"
            )
    parameters = {"evaluate": settings.model_dump(mode="json")}
    tags = {"atelier.generator_sha256": generator.sha256, "atelier.data_hash": images.content_hash}
    with ranks(chosen) as these, contextlib.ExitStack() as stack:
        run = stack.enter_context(step_run(step, experiment, parameters, tags)) if these.first else None
        evaluator = Evaluator(images, settings, cache, chosen, keep=True, ranks=these, given=given)
        evaluation = _measured(generator, evaluator, checkpoint)
        before = _measured(other, evaluator, baseline) if other and baseline else None
        metrics = {**evaluation.flat, **({"baseline": before.flat} if before else {})}
        if run is None:
            return metrics  # another rank writes them
        with atomic_folder(output, METRICS) as folder:
            atomic_write(folder / METRICS, canonical_json(metrics))
            evaluation.write(folder / EVALUATION)
            reason = acceptance.reason(evaluation, settings)
            acceptance.write(folder, reason)
            if reason:
                run.set_tags({REJECTION: reason})
            atomic_write(folder / SHARES, _shares(evaluation, images))
            if evaluation.of_each:
                places = _sampler(generator, evaluator).rows
                atomic_write(folder / OF_EACH, _of_each(evaluation.of_each, before.of_each if before else {}, places))
            atomic_write(folder / MANIFEST, (data / MANIFEST).read_bytes())
            pictures = _rows(generator, evaluator)
            beside = _rows(other, evaluator) if other else []
            atomic_write(folder / GRID, png(picture(pictures, beside)))
            if before:
                before.write(folder / BASELINE)
                if pictures[0].given is None:
                    atomic_write(folder / BASELINE_GRID, png(picture(beside)))
            write_report(
                folder / REPORT,
                checkpoint,
                evaluation,
                images,
                pictures,
                neighbors=_nearest(evaluation, evaluator, generator),
                baseline=before,
                baseline_name=BASELINE_NAME,
                baseline_rows=beside,
                variants=_sampler(generator, evaluator).variants(VARIANTS),
                settings=parameters,
                name=step.removeprefix("evaluate_"),
            )
        run.log_metrics(dict(_flat(metrics)), generator.info.images_seen)
        run.log_picture("samples", output / GRID, generator.info.images_seen)
        run.log_file(output / REPORT)
        run.log_file(output / EVALUATION)
    return metrics


def _measured(generator: Generator, evaluator: Evaluator, checkpoint: Path) -> Evaluation:
    from atelier.tasks.find import sampling_of
    from atelier.training.judge import judge_of

    judge = judge_of(checkpoint, generator) if Need.DISCRIMINATOR in uses_of(evaluator.metrics) else None
    found = evaluator.measure(generator, generator.info.classes, sampling_of(generator), judge)
    return replace(found, generator=generator.sha256)


def _sampler(generator: Generator, evaluator: Evaluator) -> Sampler:
    from atelier.tasks.find import sampling_of

    return evaluator.sampler(generator, generator.info.classes, sampling_of(generator))


def _rows(generator: Generator, evaluator: Evaluator) -> list[Row]:
    from atelier.report.gallery import rows, rows_of_records

    sampler = _sampler(generator, evaluator)
    if sampler.rows is not None:
        return rows_of_records(sampler, evaluator.dataset, evaluator.settings.seed)
    return rows(generator, evaluator.dataset, evaluator.settings.seed)


def _nearest(evaluation: Evaluation, evaluator: Evaluator, generator: Generator) -> Neighbors | None:
    """The real images nearest to the first generated ones; None when nothing was measured by features."""
    from atelier.report.gallery import neighbors
    from atelier.report.html import MAX_NEIGHBORS

    if evaluation.features is None or evaluator.reference is None or evaluator.extractor is None:
        return None
    sampler = _sampler(generator, evaluator)
    batch = evaluator.settings.batch
    samples = islice(sampler(batch), -(-MAX_NEIGHBORS // batch))
    images = np.concatenate([one.images for one in samples])[:MAX_NEIGHBORS]
    names = sampler.classes[: len(images)]
    space = f"{evaluator.extractor.name} features"
    return neighbors(images, evaluation.features, evaluator.reference, evaluator.dataset, space, classes=names)


def _shares(evaluation: Evaluation, images: PackedDataset) -> str:
    """Share of each class among generated and real images as CSV; a head alone when no classifier was asked for."""
    real = images.manifest.class_shares(images.split)
    rows = [[name, round(share, 6), round(real[name], 6)] for name, share in evaluation.class_shares.items()]
    return _table(["class", "generated", "real"], rows)


def _of_each(own: dict[str, np.ndarray], other: dict[str, np.ndarray], places: np.ndarray | None) -> str:
    """The values of single images as CSV, in the order of their records; `other` are those of the baseline's images."""
    columns = own | {f"{BASELINE_NAME}.{name}": values for name, values in other.items()}
    count = len(next(iter(own.values())))
    records = np.arange(count) if places is None else places
    order = np.argsort(records, kind="stable")
    return _table(["record", *columns], ([int(records[n]), *(f"{one[n]:.6g}" for one in columns.values())] for n in order))


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return buffer.getvalue()


def _flat(metrics: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in metrics.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", number) for inner, number in value.items())
        else:
            yield name, value


def main() -> None:
    """The command line."""
    from atelier.metrics.bias import remarks
    from atelier.metrics.evaluator import read_evaluation
    from components.measure_folders import add_arguments, measure_folders

    parser = cli.parser(evaluate, __doc__, required=False)
    of_files = add_arguments(parser)
    args = parser.parse_args()
    given = [name for name in vars(args) if getattr(args, name) != parser.get_default(name)]
    for_files = [f"--{name}" for name in given if name in of_files]
    others = (name for name in given if name not in (*of_files, "cache", "device"))
    for_generator = [evaluate.arguments[name].flag if name in evaluate.arguments else f"--{name}" for name in others]
    if for_files and for_generator:
        parser.error(
            f"{', '.join(for_files)} and {', '.join(for_generator)} do not go together: give --generated and --reference to "
            "measure images, or --checkpoint, --data and --output to measure a generator"
        )
    if for_files:
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # remarks on metadata that is not used here
        measure_folders(parser, args)
        return
    if missing := [f"--{name}" for name in ("checkpoint", "data", "output") if getattr(args, name) is None]:
        parser.error(f"give {', '.join(missing)} (or --generated and --reference)")
    metrics = cli.call(evaluate, args)
    if os.environ.get("RANK", "0") != "0":
        return  # under torchrun the first rank prints
    for name, value in _flat(metrics):
        print(f"{name} {value:.6g}")
    for remark in remarks(read_evaluation(args.output / EVALUATION).measurements):
        print(f"note: {remark}")
    if reason := acceptance.read(args.output):
        print(f"rejected: {reason}")
    print(f"report: {args.output / REPORT}")


if __name__ == "__main__":
    cli.run(main)
