"""Ten years of generators, one after the other, at equal minutes on one data set; then each discriminator judges each generator.

Every family is trained by its recipe (benchmarks/zoo.yaml) for as many images as this machine manages in --minutes, which a
short run finds out first. On a CPU these are minutes of processor time on each thread: other work takes none of them. What is
done is kept in --folder and not done again: an interrupted run goes on from its last save.
At the end docs/zoo.md is written anew between its markers, with a grid for each family, and docs/zoo.html, the same as one page.

    make zoo                                    about an hour and a quarter on 2 cores
    make zoo MINUTES=0.5                        a rehearsal

At equal images, which tells what a family learns of each image, whatever that costs:

    python -m benchmarks.zoo --images 45000 --folder zoo-images --page zoo-images

On other images, for example Fashion-MNIST at 32 px:

    python -m benchmarks.sets
    python -m benchmarks.zoo --data data/fashion --folder zoo-fashion --page zoo-fashion
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from ruamel.yaml import YAML

from atelier.config.model import architectures
from atelier.config.settings import Settings, load
from atelier.data.packed import PackedDataset
from atelier.io.files import atomic_write, canonical_json
from atelier.io.pictures import grid, png
from atelier.metrics.evaluator import Evaluator, read_evaluation
from atelier.metrics.while_training import measure_while_training
from atelier.models.model import INFO, load_generator, sample
from atelier.tasks.generation.task import Generation
from atelier.training.distributed import Ranks, choose_device
from atelier.training.history import Observer
from atelier.training.judge import load_discriminator
from atelier.training.run import run
from benchmarks import zoo_page
from benchmarks.measured import computing_seconds
from benchmarks.tournament import matrix
from benchmarks.trained import Trained
from components import cli

RECIPES = Path(__file__).with_name("zoo.yaml")
CACHE = Path("cache")
FAMILIES = tuple(name for name in YAML(typ="safe").load(RECIPES.read_text(encoding="utf-8")) if name in architectures())  # by age
SEVERAL_SEEDS = ("mlp", "mlp_deep", "dcgan")
SPEED_STEPS = 96  # of the run that finds out how fast a family is here; fewer told up to a third too much or little
ROUND = 1000  # images, to which a budget is rounded down
SHOWN, COLUMNS = 60, 10
JUDGED = 448  # images of each generator that each discriminator judges


class Speed(Observer):
    """Hears how fast a short run is."""

    def __init__(self) -> None:
        self.images_per_second = 0.0

    def point(self, point: dict[str, float]) -> None:
        self.images_per_second = point["images_per_second"]


class Computing(Speed):
    """Hears how fast the last run is, by the clock and by processor time, from the first point of its curves to the last one."""

    def started(self, history: dict[str, Any]) -> None:
        self.points = list[tuple[float, float]]()

    def point(self, point: dict[str, float]) -> None:
        super().point(point)
        self.points.append((point["images"], computing_seconds()))

    @property
    def speeds(self) -> dict[str, float]:
        (first, since), (last, until) = self.points[0], self.points[-1]
        return {"speed": self.images_per_second, "computing": (last - first) / (until - since)}


def recipe(family: str, data: PackedDataset, changed: dict[str, Any], overrides: list[str]) -> Settings:
    """params.yaml with the shape of the data, the family's recipe at that size, `changed` keys and the caller's overrides."""
    recipes = YAML(typ="safe").load(RECIPES.read_text(encoding="utf-8"))
    shape = {f"{part}.{key}": getattr(data, key) for part in ("data.base", "data.target") for key in ("resolution", "channels")}
    sized = recipes["resolutions"].get(data.resolution, {})
    values = {"model.architecture": family} | shape | recipes["common"] | recipes[family] | sized | changed
    return load("params.yaml", [f"{key}={json.dumps(value)}" for key, value in values.items()] + overrides)


def speed(family: str, data: PackedDataset, overrides: list[str], device: torch.device) -> float:
    """Images a second of a short run: on a CPU of processor time on each thread, on a GPU by the clock."""
    batch = recipe(family, data, {}, overrides).train.batch
    short = {"train.images": batch * SPEED_STEPS, "train.log_every": batch * SPEED_STEPS // 2, "train.evaluate_samples": 16}
    heard = Computing()
    with tempfile.TemporaryDirectory() as scratch:
        _train(recipe(family, data, short, overrides), data, Path(scratch) / family, Path(scratch) / "states", device, [heard])
    return heard.speeds["computing"] * torch.get_num_threads() if device.type == "cpu" else heard.images_per_second


def budget(family: str, data: PackedDataset, args: argparse.Namespace, device: torch.device) -> int:
    """How many images the family is shown: args.images, or what args.minutes are here for, found once and kept."""
    if args.images:
        return int(args.images)
    kept = args.folder / f"{family}.json"
    if not kept.exists():
        images = rounded(speed(family, data, args.set, device) * args.minutes * 60)
        atomic_write(kept, canonical_json({"images": images, "minutes": args.minutes}))
    return int(json.loads(kept.read_text())["images"])


def rounded(images: float) -> int:
    """A budget of whole thousands."""
    return max(int(images) // ROUND * ROUND, ROUND)


def trained(family: str, seed: int, data: PackedDataset, args: argparse.Namespace, device: torch.device) -> Trained:
    """Trains and measures, or takes what is there."""
    images = budget(family, data, args, device)
    every = max(images // 5, 1)
    changed = {"train.images": images, "train.seed": seed, "train.evaluate_every": every, "train.save_every": every}
    settings = recipe(family, data, changed, args.set)
    folder = args.folder / f"{family}-{seed}"
    took = args.folder / f"{folder.name}.json"
    if not (folder / INFO).exists():
        before, began = json.loads(took.read_text())["seconds"] if took.exists() else 0.0, _seconds(device)
        try:
            _train(settings, data, folder, args.folder / "states" / folder.name, device, [])
        finally:
            atomic_write(took, canonical_json({"seconds": before + _seconds(device) - began}))
    generator = load_generator(folder, device)
    measured = folder / "evaluation.json"
    if not measured.exists():
        found = Evaluator(data, settings.evaluate, CACHE, device).measure(generator, generator.info.classes)
        found.write(measured)
        shown = torch.arange(SHOWN) % min(COLUMNS, generator.shape.classes) if generator.shape.classes else None
        picture = next(sample(generator, SHOWN, 0, SHOWN, labels=shown))
        atomic_write(folder / "grid.png", png(grid(picture, COLUMNS)))
    sizes = [sum(p.numel() for p in network.parameters()) for network in (generator, load_discriminator(folder))]
    return Trained(family, seed, folder, read_evaluation(measured), images, json.loads(took.read_text())["seconds"], *sizes)


def _seconds(device: torch.device) -> float:
    """Time so far: on a CPU the processor's for each thread, which other work does not lengthen; on a GPU the clock's."""
    return computing_seconds() / torch.get_num_threads() if device.type == "cpu" else time.monotonic()


def _train(
    settings: Settings,
    data: PackedDataset,
    output: Path,
    states: Path,
    device: torch.device,
    observers: list[Observer],
) -> None:
    sets = {"data": data}
    measure, measured_by = measure_while_training(Generation, settings.train, settings.evaluate, sets, CACHE, Ranks(), device)
    run(
        Generation,
        settings.model,
        settings.train,
        {"data": data},
        output,
        states,
        measure,
        measured_by,
        device,
        Ranks(),
        git={},
        observers=observers,
    )


def tournament(runs: list[Trained], data: Path, folder: Path) -> np.ndarray:
    """The tournament's matrix of the first seed of each family, on images that no discriminator was trained with."""
    first = [one.folder for one in runs if one.seed == 0]
    kept, names = folder / "tournament.json", [path.name for path in first]
    if kept.exists() and (told := json.loads(kept.read_text()))["names"] == names:
        return np.array(told["matrix"])
    found = matrix(first, PackedDataset(data, "test"), JUDGED, seed=1)
    atomic_write(kept, canonical_json({"names": names, "matrix": found.tolist()}))
    return found


def main() -> None:
    """Trains what is not trained yet, and writes both pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path("data/base"), metavar="FOLDER", help="packed images (default: data/base)"
    )
    parser.add_argument("--folder", type=Path, default=Path("zoo"), help="what is kept between runs (default: zoo)")
    parser.add_argument("--minutes", type=float, default=4.0, help="of training for each run (default: 4)")
    parser.add_argument("--images", type=int, metavar="N", help="images that each run is shown, instead of minutes")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES), metavar="NAME", help="default: all")
    parser.add_argument("--seeds", type=int, default=3, help=f"runs of each of {', '.join(SEVERAL_SEEDS)} (default: 3)")
    parser.add_argument("--docs", type=Path, default=Path("docs"), metavar="FOLDER", help="where the pages go (default: docs)")
    parser.add_argument("--page", default="zoo", metavar="NAME", help="name of the pages (default: zoo)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a value of every recipe"
    )
    args = parser.parse_args()
    device, data, console = choose_device("auto"), PackedDataset(args.data), Console(stderr=True)
    began, runs = time.monotonic(), []
    for seed in range(args.seeds):
        for family in args.families:
            if seed > 0 and family not in SEVERAL_SEEDS:
                continue
            runs.append(one := trained(family, seed, data, args, device))
            distance = one.evaluation.measurements[0]
            console.print(
                f"{family}-{seed}: {one.images} images in {one.seconds / 60:.1f} min, {distance.name} {distance.value:.1f}"
            )
    rates = tournament(runs, args.data, args.folder)
    zoo_page.write(args.docs, args.page, runs, rates, data)
    console.print(f"{args.docs / args.page}.md and .html ({(time.monotonic() - began) / 60:.0f} min)")


if __name__ == "__main__":
    cli.run(main)
