"""Is fine-tuning worth it? Fine-tuned generators beside the base one and beside ones trained from scratch, on several seeds.

Every training sees the target images for finetune.images images: fine-tuning from models/base, from scratch with the rates of
section `finetune`, and from scratch with those of section `train`. Each is done once for each seed; everything is measured
with one identity, against the training images of the target.

    make demo
    .venv/bin/python -m benchmarks.finetune
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from atelier.data.packed import PackedDataset
from atelier.generator import load_generator, sample
from atelier.metrics.evaluate import Evaluation, Evaluator
from atelier.metrics.identity import compare
from atelier.pictures import grid, png
from atelier.settings import Settings, TrainSettings
from atelier.training.checkpoint import Start
from atelier.training.distributed import Ranks, choose_device
from atelier.training.run import run
from components import cli
from components.train import measure_by_distance, watching

BASE, CACHE = Path("models/base"), Path("cache")
WAYS = {
    "from scratch, rates of train": ("train", None),
    "from scratch, rates of finetune": ("finetune", None),
    "fine-tuned": ("finetune", BASE),
}


def trained(settings: Settings, way: str, seed: int, target: PackedDataset, folder: Path, device: torch.device) -> Path:
    """Trains on the target with the budget of `finetune` and the rates of the way's section; returns the checkpoint folder."""
    rates, base = WAYS[way]
    section, budget = getattr(settings, rates), settings.finetune
    changed = {"seed": seed, "images": budget.images, "evaluate_every": budget.evaluate_every}
    kind = type(section) if base else TrainSettings  # FreezeD is for what was trained before
    chosen = kind(**{name: getattr(section, name) for name in kind.model_fields} | changed)
    measure, measured_by = measure_by_distance(target, watching(settings.evaluate, chosen), CACHE, Ranks(), device)
    output = folder / f"{way}-{seed}"
    start = Start(base) if base else None
    run(settings.model, chosen, target, output, folder / "states", measure, measured_by, device, Ranks(), git={}, start=start)
    return output


def cell(evaluations: list[Evaluation], kind: str) -> str:
    """Mean over the seeds and, where there are several, the lowest and the highest value of a metric."""
    values = [next(m.value for m in found.measurements if m.name.startswith(kind)) for found in evaluations]
    spread = f" ({min(values):.4g} … {max(values):.4g})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4g}{spread}"


def main() -> None:
    """Trains, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_settings(parser)
    parser.add_argument("--target", type=Path, default=Path("data/target"), metavar="FOLDER", help="default: data/target")
    parser.add_argument("--seeds", type=int, nargs="+", default=[40, 41, 42, 43, 44], help="default: 40 41 42 43 44")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="write a grid of each way's first seed there")
    args = parser.parse_args()
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

    found = {"base, never saw the target": [measured(BASE, "base")]}
    with tempfile.TemporaryDirectory() as scratch:
        for way in WAYS:
            found[f"{way}, {settings.finetune.images} images"] = [
                measured(trained(settings, way, seed, target, Path(scratch), device), way if seed == args.seeds[0] else "")
                for seed in args.seeds
            ]
    every = [evaluation for row in found.values() for evaluation in row]
    for other in every[1:]:
        for mine, theirs in zip(every[0].measurements, other.measurements, strict=True):
            compare(mine, theirs)  # refuses numbers of different identity
    seeds = ", ".join(map(str, args.seeds))
    table = Table("generator", title=f"measured on {args.target}; mean (lowest … highest) of seeds {seeds}")
    for kind in settings.evaluate.metrics:
        table.add_column(kind if kind == "classifier" else f"{kind}\n{settings.evaluate.extractor}", justify="right")
    for name, row in found.items():
        table.add_row(name, *(cell(row, kind) for kind in settings.evaluate.metrics))
    Console().print(table)


if __name__ == "__main__":
    cli.run(main)
