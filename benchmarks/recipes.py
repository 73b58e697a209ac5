"""Which recipe comes how far in how many minutes? The table by which the defaults of params.yaml are chosen.

Every recipe of recipes.yaml is trained on every set for each of --minutes with each of --seeds, for as many images as a short
run says that these allow here (benchmarks/zoo.py), and measured with one identity a set. What is done is kept in --folder and
not done again: an interrupted table goes on where it stopped.

    make recipes                                                                     two hours on 2 cores
    .venv/bin/python -m benchmarks.recipes --data data/base --minutes 0.5 --seeds 0  a rehearsal of a quarter of an hour

The sets are the embedded MNIST digits, Fashion-MNIST and emoji; docs/zoo-fashion.md and docs/zoo-emoji.md say how those two are
packed, which `make recipes` leaves out where they are not.
"""

from __future__ import annotations

import argparse
import json
import statistics
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from atelier.data.manifest import NAME
from atelier.data.packed import PackedDataset
from atelier.metrics.identity import compare
from atelier.training.distributed import choose_device
from benchmarks import zoo
from benchmarks.measured import machine, show, table
from components import cli

RECIPES = Path(__file__).with_name("recipes.yaml")
CHANNELS = {32: "model.r3gan.channels=[96,96,48,16]"}  # of r3gan, one more than zoo.yaml has for 28 px
SETS = [Path("data/base"), Path("data/fashion"), Path("data/emoji")]


def recipes() -> dict[str, dict[str, Any]]:
    """Family and overrides by name."""
    read = YAML(typ="safe").load(RECIPES.read_text(encoding="utf-8"))
    return {name: told for name, told in read.items() if name != "common"}


def trained(name: str, told: dict[str, Any], data: PackedDataset, minutes: float, seed: int, folder: Path) -> zoo.Trained:
    """One run; a new one only where the folder has none."""
    overrides = [f"{key}={json.dumps(value)}" for key, value in told["set"].items()]
    if data.resolution in CHANNELS:
        overrides.append(CHANNELS[data.resolution])
    place = folder / data.folder.name / name.replace(", ", "-").replace(" ", "-") / f"{minutes:g}"
    asked = Namespace(images=None, minutes=minutes, folder=place, set=overrides)
    return zoo.trained(told["family"], seed, data, asked, choose_device("auto"))


def report(args: argparse.Namespace) -> Iterator[str]:
    """Lines of the report: a table a set, a row a recipe."""
    yield machine(("torch",))
    for place in args.data or [place for place in SETS if (place / NAME).exists()]:
        data, rows = PackedDataset(place), []
        first = None
        for name, told in recipes().items():
            if args.recipes and name not in args.recipes:
                continue
            row, speeds = [name], []
            for minutes in args.minutes:
                runs = [trained(name, told, data, minutes, seed, args.folder) for seed in args.seeds]
                for one in runs:
                    measured = one.evaluation.measurements[0]
                    first = first or measured
                    compare(first, measured)  # refuses numbers of different identity
                values = [one.evaluation.measurements[0].value for one in runs]
                row.append(f"{statistics.mean(values):.1f} ({min(values):.1f} … {max(values):.1f})")
                speeds += [one.images_per_second for one in runs]
            rows.append([*row, f"{statistics.mean(speeds):.0f}"])
        assert first is not None
        rows.sort(key=lambda row: float(row[-2].split()[0]))
        seeds = ", ".join(map(str, args.seeds))
        yield f"\n{place}, {data.resolution} px: {first.name}, mean (lowest … highest) of seeds {seeds}.\n"
        yield from table(["recipe", *(f"{minutes:g} min" for minutes in args.minutes), "images/s"], rows)


def main() -> None:
    """Trains what is not trained yet, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help=f"default: what there is of {', '.join(map(str, SETS))}",
    )
    parser.add_argument("--recipes", nargs="+", choices=list(recipes()), metavar="NAME", help="default: all")
    parser.add_argument("--minutes", type=float, nargs="+", default=[0.5, 2.0], help="of training for each run (default: 0.5 2)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="default: 0 1")
    parser.add_argument("--folder", type=Path, default=Path("zoo-recipes"), help="what is kept (default: zoo-recipes)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the tables there, too")
    args = parser.parse_args()
    show(report(args), args.output)


if __name__ == "__main__":
    cli.run(main)
