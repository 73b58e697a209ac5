"""How fast does a translator train, and how far does it come? Atelier beside a loop as public code bases write it.

CycleGAN and FastCUT learn from Noto Emoji to Twemoji without pairs (32 px), pix2pix from OpenMoji's lines to colors (64 px): the
same networks, batch, objective and rates, each in a process of its own. First Atelier for --minutes, as many pairs as a short run
says that these allow; then for as many seconds the loop (benchmarks/translation_loop.py); then Atelier in bfloat16, where the
device has instructions for it. Afterwards held-out pictures are translated by all and measured alike: the Fréchet distance from
what the other vendor drew, and the mean difference (L1) from the pair's other half. The pictures come by the recipes' own
get_images.py, and stay in --folder.

With --authors the authors' own trainers take the loop's place: FOLDER holds clones of their two repositories, which
benchmarks/translation_authors.py names with commits and licences. All networks then have the published form (epsilon of the norms
1e-5, pix2pix with batch norm), and Atelier is measured by its moving average, as always.

    make bench-translation                                          half an hour on 2 cores
    .venv/bin/python -m benchmarks.translation --compare cyclegan --minutes 0.5
    .venv/bin/python -m benchmarks.translation --authors ~/authors --minutes 2.5
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atelier.config.settings import Settings, load
from atelier.data.manifest import NAME
from atelier.data.pack import pack
from atelier.data.packed import PackedDataset
from atelier.metrics.evaluator import Evaluator
from atelier.models.model import load_generator, part_of
from atelier.networks.base import Generator
from atelier.tasks.find import find
from atelier.tasks.records import RecordSampler
from atelier.training.distributed import Ranks, choose_device
from atelier.training.history import Observer
from atelier.training.precision import native
from atelier.training.run import run
from benchmarks.measured import machine, peak_megabytes, show, table, watched
from benchmarks.translation_authors import AuthorsLoop
from benchmarks.translation_loop import Pictures, TranslationLoop
from benchmarks.zoo import SPEED_STEPS, Speed
from components import cli

ROOT = Path(__file__).parents[1]
FOLDER = Path("data/translation")
SIDES = {"loop": "plain loop", "authors": "the authors' trainer", "atelier": "Atelier", "bfloat16": "Atelier, bfloat16"}
COMMON = {
    "train.objective": "least_squares_binary",
    "train.regularizers": {},
    "train.lr_generator": 0.0002,
    "train.lr_discriminator": 0.0002,
    "train.lr_final": 1.0,
    "train.beta1": 0.5,
    "train.beta2": 0.999,
    "train.beta2_final": 0.999,
    "train.precision": "float32",
    "train.ema_ramp": 0.05,
    "train.augment": "none",
    "train.on_alarm": "warn",
}
SMALL = {"width": 16, "blocks": 6, "width_discriminator": 16, "layers_discriminator": 2}
CONTRAST = {"cycle": 0.0, "identity": 0.0, "contrast": 10.0, "flip": 0.5, "pool": 0}
CONTRAST["contrast_layers"] = ["image", "down1", "down2", "block1", "block4"]  # type: ignore[assignment]


@dataclass(frozen=True)
class Compared:
    """What is compared: the recipe, the sets that are learnt from by the task's names, that of pairs, and the settings.

    `published` is what else has to be set for the network to be that of the authors' code.
    """

    recipe: str
    sets: Mapping[str, str]
    pairs: str
    values: Mapping[str, Any]
    published: Mapping[str, Any]


UNPAIRED = {"a": "noto", "b": "twemoji"}
COMPARED = {
    "cyclegan": Compared(
        "cartoons",
        UNPAIRED,
        "pairs",
        {
            "model.architecture": "cyclegan",
            "model.cyclegan": SMALL,
            "train.batch": 4,
            "train.translation": {"cycle": 10.0, "identity": 5.0},
        },
        {"model.cyclegan.eps": 1e-5},
    ),
    "fastcut": Compared(
        "cartoons",
        UNPAIRED,
        "pairs",
        {"model.architecture": "cut", "model.cut": SMALL, "train.batch": 4, "train.translation": CONTRAST},
        {"model.cut.eps": 1e-5},
    ),
    "pix2pix": Compared(
        "sketch",
        {"data": "drawings"},
        "drawings",
        {
            "model.architecture": "pix2pix",
            "model.pix2pix": {"width": 32, "width_discriminator": 32, "layers_discriminator": 2},
            "train.batch": 8,
            "train.paired": {"l1": 100.0},
        },
        {"model.pix2pix.eps": 1e-5, "model.pix2pix.norm": "batch"},
    ),
}


def settings_of(name: str, changed: Mapping[str, Any]) -> Settings:
    """The recipe's settings with those that are compared."""
    compared = COMPARED[name]
    values = {**COMMON, **compared.values, **changed}
    return load(ROOT / "recipes" / compared.recipe / "params.yaml", [f"{key}={json.dumps(one)}" for key, one in values.items()])


def prepared(name: str, folder: Path) -> dict[str, PackedDataset]:
    """The sets of a recipe, brought and packed where they are missing."""
    recipe = folder / COMPARED[name].recipe
    settings = settings_of(name, {})
    for key, data in settings.data.items():
        packed = recipe / "data" / key
        if not (packed / NAME).exists():
            recipe.mkdir(parents=True, exist_ok=True)
            script = ROOT / "recipes" / COMPARED[name].recipe / "get_images.py"
            subprocess.run([sys.executable, str(script)], cwd=recipe, check=True, stdout=sys.stderr)
            pack(data.model_copy(update={"path": str(recipe / data.path)}), packed, section=f"data.{key}")
    return {key: PackedDataset(recipe / "data" / key) for key in settings.data}


def atelier(name: str, args: argparse.Namespace, scratch: Path, precision: str = "float32") -> dict[str, Any]:
    """Trains for about --minutes; the budget is what a short run managed."""
    sets, heard, changed = prepared(name, args.folder), Speed(), {**_form(name, args), "train.precision": precision}
    steps = SPEED_STEPS * settings_of(name, {}).train.batch
    _train(name, sets, {**changed, **_budget(steps, steps // 2)}, scratch / "probe", [heard])
    images = max(int(heard.images_per_second * args.minutes * 60), steps)
    since = time.monotonic()
    _train(name, sets, {**changed, **_budget(images, images // 10)}, scratch / "whole", [])
    seconds, peak = time.monotonic() - since, peak_megabytes()
    product = find(settings_of(name, {}).model.task).products_of(settings_of(name, {}).train)[0]
    model = scratch / "whole" / "model"
    generator = load_generator(part_of(model, product.name if (model / product.name).is_dir() else ""))
    return _told(name, args.folder, generator, images, seconds, peak)


def bfloat16(name: str, args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """As `atelier`, under autocast."""
    return atelier(name, args, scratch, "bfloat16")


def loop(name: str, args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Trains for --minutes."""
    plain = TranslationLoop(settings_of(name, {}), *_pictures(name, args.folder))
    plain.train(args.minutes * 60)
    peak = peak_megabytes()
    generator = plain.generator.eval()
    assert isinstance(generator, Generator)
    return _told(name, args.folder, generator, plain.images, plain.seconds, peak)


def authors(name: str, args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Trains for --minutes, which begin with the first step."""
    theirs = AuthorsLoop(settings_of(name, _form(name, args)), *_pictures(name, args.folder), args.authors)
    theirs.train(args.minutes * 60, scratch)
    peak = peak_megabytes()
    return _told(name, args.folder, theirs.generator, theirs.images, theirs.seconds, peak)


def _form(name: str, args: argparse.Namespace) -> Mapping[str, Any]:
    """The settings that are changed for the comparison with the authors' trainers."""
    return COMPARED[name].published if args.authors else {}


def _pictures(name: str, folder: Path) -> tuple[Pictures, Pictures, bool]:
    """What is translated, into what, and whether these are pairs."""
    sets, compared = prepared(name, folder), COMPARED[name]
    if len(compared.sets) == 1:
        return Pictures(sets[compared.pairs], "input"), Pictures(sets[compared.pairs], "target"), True
    first, second = (Pictures(sets[one], "image") for one in compared.sets.values())
    return first, second, False


def _budget(images: int, every: int) -> dict[str, Any]:
    """A budget without measurements on the way."""
    return {"train.images": images, "train.log_every": every, "train.save_every": images, "train.evaluate_from": 1.0}


def _train(
    name: str, sets: Mapping[str, PackedDataset], changed: dict[str, Any], output: Path, observers: list[Observer]
) -> None:
    settings = settings_of(name, changed)

    def measure(_: Any) -> tuple[float, dict[str, Any]]:
        return 0.0, {"identity": {"metric": "none"}, "metrics": {}}

    run(
        find(settings.model.task),
        settings.model,
        settings.train,
        {role: sets[one] for role, one in COMPARED[name].sets.items()},
        output / "model",
        output / "states",
        measure,
        {},
        choose_device("auto"),
        Ranks(),
        {},
        observers,
    )


def _told(name: str, folder: Path, generator: Generator, images: int, seconds: float, peak: float) -> dict[str, Any]:
    pairs = PackedDataset(prepared(name, folder)[COMPARED[name].pairs].folder, "test")
    chosen = settings_of(name, {}).evaluate.model_copy(update={"metrics": ["frechet", "l1"], "samples": len(pairs)})
    found = Evaluator(pairs, chosen, folder / "cache").measure(generator, (), RecordSampler)
    distance, difference = (found.of_kind(kind) for kind in ("frechet", "l1"))
    assert distance and difference
    told = {"images": images, "seconds": seconds, "megabytes": peak}
    return told | {"distance": distance.value, "metric": distance.name, "l1": difference.value, "pairs": len(pairs)}


def report(args: argparse.Namespace) -> Iterator[str]:
    """Lines of the report."""
    yield machine(("torch", "torchvision", "numpy"))
    yield ""
    told, rows = dict[str, Any](), list[list[str]]()
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.compare:
            prepared(name, args.folder)
            rows += _rows(name, args, Path(scratch), told)
    share = "of the authors'" if args.authors else "of the loop's"
    header = ["model", "data", "trained by", "pairs", "s", "pairs/s", "times as fast", "distance", share, "L1"]
    yield from table([*header, share, "peak, MB"], rows)
    yield ""
    yield f"The distance is {told['metric']} of translations of the held-out pictures ({told['pairs']} of the last row)."


def _rows(name: str, args: argparse.Namespace, scratch: Path, told: dict[str, Any]) -> list[list[str]]:
    faster = ["bfloat16"] if native(choose_device("auto")) == "bfloat16" and not args.authors else []
    other = "authors" if args.authors else "loop"
    given = ["--folder", str(args.folder), "--scratch", str(scratch), *(["--authors", str(args.authors)] if args.authors else [])]
    found, minutes = dict[str, dict[str, Any]](), args.minutes
    for side in ("atelier", other, *faster):
        command = ["-m", "benchmarks.translation", "--compare", name, *given, "--side", side, "--minutes", str(minutes)]
        said = watched(f"{name}, {SIDES[side]}", command)
        found[side] = json.loads(said.stdout.splitlines()[-3])
        minutes = found["atelier"]["seconds"] / 60
    told |= found[other]
    return [_row(name, SIDES[side], found[side], found[other]) for side in (other, "atelier", *faster)]


def _row(name: str, side: str, one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    speed, theirs = one["images"] / one["seconds"], other["images"] / other["seconds"]
    return [
        name,
        COMPARED[name].recipe,
        side,
        f"{one['images']:,}",
        f"{one['seconds']:.0f}",
        f"{speed:.1f}",
        f"{speed / theirs:.2f}",
        f"{one['distance']:.1f}",
        f"{one['distance'] / other['distance']:.2f}",
        f"{one['l1']:.4f}",
        f"{one['l1'] / other['l1']:.2f}",
        f"{one['megabytes']:.0f}",
    ]


def main() -> None:
    """Measures, prints the table; with --side one side of it, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--compare", nargs="+", choices=COMPARED, default=list(COMPARED), metavar="NAME", help=f"default: {' '.join(COMPARED)}"
    )
    parser.add_argument("--minutes", type=float, default=2.0, help="of training for each side (default: 2)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"default: {FOLDER}")
    parser.add_argument(
        "--authors", type=Path, metavar="FOLDER", help="clones of the authors' repositories: run their trainers, not the loop"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table there, too")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.side:
        show(report(args), args.output)
        return
    side = {"atelier": atelier, "bfloat16": bfloat16, "loop": loop, "authors": authors}[args.side]
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        told = side(args.compare[0], args, Path(scratch))
    print(json.dumps(told))


if __name__ == "__main__":
    cli.run(main)
