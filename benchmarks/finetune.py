"""Is fine-tuning worth it? The demo's fine-tuned generator beside the base one and two that were trained from scratch.

Both trainings from scratch see the target images for the same number of images as fine-tuning did: one with the rates of
section `finetune`, one with those of section `train`. Everything is measured with one identity, against the target images.

    make demo && .venv/bin/python -m benchmarks.finetune
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from atelier.data.packed import PackedDataset
from atelier.generator import load_generator, sample
from atelier.metrics.evaluate import Evaluator
from atelier.metrics.identity import compare
from atelier.pictures import grid, png
from atelier.settings import Settings, TrainSettings, load
from atelier.training.distributed import Ranks, choose_device
from atelier.training.run import run
from components.train import measure_by_distance, watching


def from_scratch(settings: Settings, rates: str, folder: Path, cache: Path) -> Path:
    """Trains on the target with the budget of `finetune` and the rates of a section; returns the checkpoint folder."""
    section: TrainSettings = getattr(settings, rates)
    values = {name: getattr(section, name) for name in TrainSettings.model_fields}
    chosen = TrainSettings(**{**values, "images": settings.finetune.images, "evaluate_every": settings.finetune.evaluate_every})
    device, data = choose_device("auto"), PackedDataset(Path("data/target"))
    measure, measured_by = measure_by_distance(data, watching(settings.evaluate, chosen), cache, Ranks(), device)
    output = folder / rates
    run(settings.model, chosen, data, output, folder / "states", measure, measured_by, device, Ranks(), git={})
    return output


def main() -> None:
    """Trains, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="a folder for a grid of each generator")
    args = parser.parse_args()
    settings, cache = load(), Path("cache")
    budget = settings.finetune.images
    with tempfile.TemporaryDirectory() as scratch:
        generators = {
            "base, never saw the target": Path("models/base"),
            f"from scratch, {budget} images, rates of train": from_scratch(settings, "train", Path(scratch), cache),
            f"from scratch, {budget} images, rates of finetune": from_scratch(settings, "finetune", Path(scratch), cache),
            f"fine-tuned, {budget} images": Path("models/finetuned"),
        }
        evaluator = Evaluator(PackedDataset(Path("data/target")), settings.evaluate, cache)
        table = Table("generator on the target images")
        for measured in settings.evaluate.metrics:
            eyes = "" if measured == "classifier" else f" ({settings.evaluate.extractor})"
            table.add_column(measured + eyes, justify="right")
        first = None
        for name, folder in generators.items():
            generator = load_generator(folder)
            found = evaluator(sample(generator, settings.evaluate.samples, settings.evaluate.seed, settings.evaluate.batch))
            first = first or found
            for mine, theirs in zip(first.measurements, found.measurements, strict=True):
                compare(mine, theirs)  # refuses numbers of different identity
            firsts = (next(m for m in found.measurements if m.name.startswith(kind)) for kind in settings.evaluate.metrics)
            table.add_row(name, *(f"{measurement.value:.4g}" for measurement in firsts))
            if args.pictures:
                args.pictures.mkdir(parents=True, exist_ok=True)
                images = next(sample(generator, 80, 0, 80))
                (args.pictures / f"{name.replace(', ', '-').replace(' ', '-')}.png").write_bytes(png(grid(images, 10)))
    Console().print(table)


if __name__ == "__main__":
    main()
