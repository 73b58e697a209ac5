"""Is fine-tuning worth it? Fine-tuned generators beside the base one and beside ones trained from scratch, on several seeds.

Every training sees the target images for finetune.images images: fine-tuning from models/base, from scratch with the rates of
section `finetune`, and from scratch with those of section `train`. Each is done once for each seed; everything is measured
with one identity, against the training images of the target. With --images so many of them are trained on alone, equally many of
each class, and what is measured stays: all of them.

    make demo
    .venv/bin/python -m benchmarks.finetune
    make bench-finetune                         all ways, from 100, 300 and 1,000 images: half an hour on 2 cores
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from atelier.config.metrics import metrics
from atelier.config.settings import Settings
from atelier.config.training import TrainSettings
from atelier.data.pack import pack
from atelier.data.packed import PackedDataset
from atelier.io.pictures import grid, png
from atelier.metrics.evaluator import Evaluation, Evaluator
from atelier.metrics.identity import compare
from atelier.metrics.while_training import measure_while_training
from atelier.models.model import load_generator, sample
from atelier.tasks.generation.task import Generation
from atelier.training.checkpoint import PretrainedModel
from atelier.training.distributed import Ranks, choose_device
from atelier.training.run import run
from benchmarks.finetune_ways import add_ways, chosen_ways
from benchmarks.measured import machine, show, spread, table
from components import cli

BASE, CACHE = Path("models/base"), Path("cache")


class Way(NamedTuple):
    """A training: whose rates it has, whether it begins with the base generator, and what else differs."""

    rates: str
    fine_tuned: bool
    changed: dict[str, Any] = {}  # noqa: RUF012 - of a NamedTuple


WAYS = {
    "from scratch, rates of train": Way("train", False),
    "from scratch, rates of finetune": Way("finetune", False),
    "fine-tuned": Way("finetune", True),
}
MORE = {
    "fine-tuned, FreezeD 1": Way("finetune", True, {"freeze_discriminator": 1}),
    "fine-tuned, DiffAugment": Way("finetune", True, {"augment": "diffaugment", "augment_p": 1.0}),
    "fine-tuned, ADA": Way("finetune", True, {"augment": "ada", "augment_p": 0.8, "ada_images": 10000}),
    "fine-tuned, rates halved": Way("finetune", True, {"lr_generator": 0.5, "lr_discriminator": 0.5}),
    "fine-tuned, rates quartered": Way("finetune", True, {"lr_generator": 0.25, "lr_discriminator": 0.25}),
    "from scratch, DiffAugment": Way("finetune", False, {"augment": "diffaugment", "augment_p": 1.0}),
}
RATES = ("lr_generator", "lr_discriminator")  # whose changes are factors


def few(target: PackedDataset, count: int, settings: Settings, folder: Path) -> PackedDataset:
    """So many of its training images as a set of their own, equally many of each class, without a held-out split."""
    shown = [0] * max(len(target.classes), 1)
    most = -(-count // len(shown))
    for index in range(len(target)):
        label = int(target.labels[index])
        if sum(shown) < count and shown[label] < most:
            shown[label] += 1
            place = folder / "images" / (target.classes[label] if target.classes else ".")
            place.mkdir(parents=True, exist_ok=True)
            pixels = target.images(np.array([index]))[0].transpose(1, 2, 0)
            Image.fromarray(pixels.squeeze()).save(place / f"{index:06}.png")
    here = {"source": "folder", "path": str(folder / "images"), "holdout": 0.0, "margin": 0, "labels": bool(target.classes)}
    name = settings.trainings["finetune"].sets["data"]
    pack(settings.data[name].model_copy(update=here), folder / "packed", progress=False, section=f"data.{name}")
    return PackedDataset(folder / "packed")


def trained(settings: Settings, name: str, seed: int, target: PackedDataset, folder: Path, device: torch.device) -> Path:
    """Trains on the target with the budget of `finetune` and as the way says; returns the checkpoint folder."""
    way, budget = (WAYS | MORE)[name], settings.trainings["finetune"]
    section = settings.trainings[way.rates]
    changed = {key: getattr(section, key) * value if key in RATES else value for key, value in way.changed.items()}
    changed |= {"seed": seed, "images": budget.images, "evaluate_every": budget.evaluate_every}
    kind = type(section) if way.fine_tuned else TrainSettings  # FreezeD is for what was trained before
    chosen = kind(**{key: getattr(section, key) for key in kind.model_fields} | changed)
    measure, measured_by = measure_while_training(Generation, chosen, settings.evaluate, {"data": target}, CACHE, Ranks(), device)
    output = folder / f"{name}-{seed}"
    start = PretrainedModel(BASE) if way.fine_tuned else None
    run(
        Generation,
        settings.model,
        chosen,
        {"data": target},
        output,
        folder / "states",
        measure,
        measured_by,
        device,
        Ranks(),
        git={},
        start=start,
    )
    return output


def cell(evaluations: list[Evaluation], kind: str) -> str:
    """A metric over the seeds."""
    values = [next(one.value for one in found.measurements if one.kind == kind) for found in evaluations]
    return spread(values)


def report(args: argparse.Namespace) -> Iterator[str]:
    """Lines of the report: a row for each way, and number of images."""
    settings, device, target = cli.settings(args), choose_device("auto"), PackedDataset(args.target)
    evaluator = Evaluator(target, settings.evaluate, CACHE, device)

    def measured(checkpoint: Path, picture: str) -> Evaluation:
        generator = load_generator(checkpoint, device)
        if args.pictures and picture:
            args.pictures.mkdir(parents=True, exist_ok=True)
            (args.pictures / f"{picture.replace(', ', '-').replace(' ', '-')}.png").write_bytes(
                png(grid(next(sample(generator, 80, 0, 80)), 10))
            )
        return evaluator.measure(generator, generator.info.classes)

    yield machine(("torch",))
    found = {("base, never saw the target", 0): [measured(BASE, "base")]}
    with tempfile.TemporaryDirectory() as scratch:
        for count in args.images or [len(target)]:
            place = Path(scratch) / str(count)
            images = few(target, count, settings, place / "set") if args.images else target
            for way in chosen_ways(args.ways, WAYS | MORE):
                found[way, count] = [
                    measured(trained(settings, way, seed, images, place, device), way if seed == args.seeds[0] else "")
                    for seed in args.seeds
                ]
    every = [evaluation for row in found.values() for evaluation in row]
    for other in every[1:]:
        for mine, theirs in zip(every[0].measurements, other.measurements, strict=True):
            compare(mine, theirs)  # refuses numbers of different identity
    kinds = [metrics()[name].values[0].kind for name in settings.evaluate.metrics]
    shown = settings.trainings["finetune"].images
    yield f"\nMeasured on {args.target} with {settings.evaluate.extractor}, each trained for {shown:,} images;"
    yield f"mean (lowest … highest) of seeds {', '.join(map(str, args.seeds))}.\n"
    yield from table(
        ["generator", "trained on images", *kinds],
        [[way, f"{count:,}" if count else "–", *(cell(row, kind) for kind in kinds)] for (way, count), row in found.items()],
    )


def main() -> None:
    """Trains, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_settings(parser)
    parser.add_argument("--target", type=Path, default=Path("data/target"), metavar="FOLDER", help="default: data/target")
    parser.add_argument("--seeds", type=int, nargs="+", default=[40, 41, 42, 43, 44], help="default: 40 41 42 43 44")
    parser.add_argument("--images", type=int, nargs="+", metavar="N", help="train on so many of the target's (default: all)")
    add_ways(parser, WAYS, MORE)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="write a grid of each way's first seed there")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table there, too")
    args = parser.parse_args()
    show(report(args), args.output)


if __name__ == "__main__":
    cli.run(main)
