"""What detectors find of generators that they have never seen, on other sets than the recipe's: clothes, emoji, medical images.

On some thousand images of each set the families of benchmarks/detectors.yaml are trained by their recipes of the zoo, and
components.detect leaves each out in turn. What is trained is kept in --folder: an interrupted run goes on from its last save.
Sets are those of benchmarks.sets.

    .venv/bin/python -m benchmarks.sets
    .venv/bin/python -m benchmarks.detectors --data data/fashion --folder detectors/fashion
    .venv/bin/python -m benchmarks.detectors --data data/emoji --folder detectors/emoji
    .venv/bin/python -m benchmarks.detectors --data data/medical --folder detectors/medical
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from atelier.config.detection import DetectSettings
from atelier.config.section import parse
from atelier.data.manifest import NAME
from atelier.data.packed import PackedDataset
from atelier.data.repack import Labelled, labelled, repack
from atelier.training.distributed import choose_device
from benchmarks import zoo
from benchmarks.measured import computing_seconds, machine, show
from components import cli
from components.detect import REPORT, TABLES, detect

CHOSEN = Path(__file__).with_suffix(".yaml")


def few(folder: Path, most: dict[str, int], output: Path) -> Path:
    """A packed set of at most so many images of each split, drawn by seed 0; one that is there is left as it is."""

    def drawn(split: str) -> Labelled:
        images = labelled(whole if split == "train" else PackedDataset(folder, split))
        return images.at(np.sort(np.random.default_rng(0).permutation(len(images.labels))[: most[split]]))

    if not (output / NAME).exists():
        whole = PackedDataset(folder)
        repack(whole, drawn("train"), drawn("test"), output, {"part": f"at most {most['train']} and {most['test']} held out"})
    return output


def main() -> None:
    """Trains what is not trained yet, and measures."""
    chosen: dict[str, Any] = YAML(typ="safe").load(CHOSEN.read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="packed images, with a held-out split")
    parser.add_argument("--folder", type=Path, required=True, help="what is kept between runs, and where the detector goes")
    parser.add_argument(
        "--families", nargs="+", choices=list(chosen["families"]), metavar="NAME", help="default: all of detectors.yaml"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of every recipe")
    args = parser.parse_args()
    settings = parse(chosen["detect"], DetectSettings, origin=CHOSEN.name, prefix="detect")
    device, folders = choose_device("auto"), list[Path]()
    data = PackedDataset(few(args.data, chosen["images"], args.folder / "images"))
    overrides = [*(f"{key}={value}" for key, value in chosen["train"].items()), *args.set]
    for family in args.families or chosen["families"]:
        asked = argparse.Namespace(images=chosen["families"][family], folder=args.folder, set=overrides)
        one = zoo.trained(family, 0, data, asked, device)
        print(f"{family}: {one.images} images in {one.seconds / 60:.1f} min")
        folders.append(one.folder)
    began = computing_seconds()
    detect(settings, "detectors", data.folder, folders, args.folder / "detector")
    spent = f"{machine(['torch'])}; {computing_seconds() - began:.0f} s of processor time for the detectors"
    show([*(args.folder / "detector" / TABLES).read_text(encoding="utf-8").splitlines(), "", spent], None)
    print(f"report: {args.folder / 'detector' / REPORT}")


if __name__ == "__main__":
    cli.run(main)
