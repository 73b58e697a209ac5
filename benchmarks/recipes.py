"""Which recipe comes how far in how many minutes? The table by which the defaults of params.yaml are chosen.

Every recipe of recipes.yaml is trained on every set for each of --minutes with each of --seeds, for as many images as short
runs, in which the recipes take turns, say that these allow here, and measured with one identity a set. What is done is kept in
--folder and not done again: an interrupted table goes on where it stopped.

    make recipes                                                                     two hours on 2 cores
    .venv/bin/python -m benchmarks.recipes --data data/base --minutes 0.5 --seeds 0  a rehearsal of a quarter of an hour

The sets are the embedded MNIST digits and those that benchmarks.sets fetches and packs: Fashion-MNIST and emoji in color.
"""

from __future__ import annotations

import argparse
import json
import statistics
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML

from atelier.data.packed import PackedDataset
from atelier.errors import AtelierError
from atelier.io.files import atomic_write, canonical_json
from atelier.metrics.identity import compare
from atelier.training.distributed import choose_device
from benchmarks import sets, zoo
from benchmarks.measured import machine, show, table
from components import cli

RECIPES = Path(__file__).with_name("recipes.yaml")
ROUNDS = 3  # of the short runs
SETS = [Path("data/base"), *sets.SETS]


def recipes() -> dict[str, dict[str, Any]]:
    """Family and overrides by name."""
    read = YAML(typ="safe").load(RECIPES.read_text(encoding="utf-8"))
    return {name: told for name, told in read.items() if name != "common"}


def overrides(told: dict[str, Any]) -> list[str]:
    """What differs from zoo.yaml, as --set takes it."""
    return [f"{key}={json.dumps(value)}" for key, value in told["set"].items()]


def speeds(data: PackedDataset, folder: Path, device: torch.device) -> dict[str, float]:
    """Images a second of each recipe: its best of ROUNDS, in each of which all of them take turns. Found once and kept.

    Minutes of a machine that others share are of unequal length; ratios between recipes that were measured in turn are not.
    """
    kept = folder / data.folder.name / "speeds.json"
    if not kept.exists():
        best = dict.fromkeys(recipes(), 0.0)
        for _ in range(ROUNDS):
            for name, told in recipes().items():
                best[name] = max(best[name], zoo.speed(told["family"], data, overrides(told), device))
        atomic_write(kept, canonical_json(best))
    found = json.loads(kept.read_text())
    if set(found) != set(recipes()):
        raise AtelierError(f"{kept} is of other recipes than {RECIPES}; remove {kept.parent}")
    return found


def trained(name: str, data: PackedDataset, images: int, seed: int, folder: Path, device: torch.device) -> zoo.Trained:
    """One run; a new one only where the folder has none."""
    told = recipes()[name]
    place = folder / data.folder.name / name.replace(", ", "-").replace(" ", "-") / f"{images}"
    asked = Namespace(images=images, folder=place, set=overrides(told))
    return zoo.trained(told["family"], seed, data, asked, device)


def report(args: argparse.Namespace) -> Iterator[str]:
    """Lines of the report: a table a set, a row a recipe."""
    device = choose_device("auto")
    yield machine(("torch",))
    for place in args.data:
        data, rows = PackedDataset(place), []
        first = None
        for name, speed in speeds(data, args.folder, device).items():
            row = [name, f"{speed:.0f}"]
            for minutes in args.minutes:
                images = zoo.rounded(speed * 60 * minutes)
                runs = [trained(name, data, images, seed, args.folder, device) for seed in args.seeds]
                for one in runs:
                    measured = one.evaluation.measurements[0]
                    first = first or measured
                    compare(first, measured)  # refuses numbers of different identity
                values = [one.evaluation.measurements[0].value for one in runs]
                row.append(f"{statistics.mean(values):.1f} ({min(values):.1f} … {max(values):.1f})")
            rows.append(row)
        assert first is not None
        rows.sort(key=lambda row: float(row[-1].split()[0]))
        seeds = ", ".join(map(str, args.seeds))
        yield f"\n{place}, {data.resolution} px: {first.name}, mean (lowest … highest) of seeds {seeds}.\n"
        yield from table(["recipe", "images/s", *(f"{minutes:g} min" for minutes in args.minutes)], rows)


def main() -> None:
    """Trains what is not trained yet, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        metavar="FOLDER",
        default=SETS,
        help=f"default: {', '.join(map(str, SETS))}",
    )
    parser.add_argument("--minutes", type=float, nargs="+", default=[0.5, 2.0], help="of training for each run (default: 0.5 2)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="default: 0 1")
    parser.add_argument("--folder", type=Path, default=Path("zoo-recipes"), help="what is kept (default: zoo-recipes)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the tables there, too")
    args = parser.parse_args()
    show(report(args), args.output)


if __name__ == "__main__":
    cli.run(main)
