"""What do 50 pictures of a new style teach? Translators fine-tuned to it beside ones trained from scratch, on several seeds.

The base is CycleGAN from Noto Emoji to Twemoji and back (32 px), on the sets of recipe cartoons. Then 50 pictures of OpenMoji
in color are learnt from beside all training pictures of Noto, by the settings of the base for fewer images: from scratch,
fine-tuned from both generators and both discriminators of the base, and fine-tuned with stages of the discriminators frozen
(FreezeD). Held-out Noto Emoji are translated and measured by OpenMoji of the same code points, of which none was learnt from; the
way back likewise.
The pictures come by the recipes' own get_images.py and stay in --folder, as do finished trainings, so that a second call goes on
where the first one stopped.

    make bench-finetune-translation             all ways, with the base: half an hour on a core
    .venv/bin/python -m benchmarks.finetune_translation --seeds 40
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from atelier.config.settings import Settings, load, read
from atelier.config.training import TrainSettings
from atelier.data.manifest import NAME
from atelier.data.pack import pack
from atelier.data.packed import PackedDataset
from atelier.io.files import atomic_folder, atomic_write
from atelier.io.pictures import grid, png
from atelier.metrics.evaluator import Evaluation, Evaluator
from atelier.metrics.identity import compare
from atelier.metrics.while_training import measure_while_training
from atelier.models.model import load_generator, part_of
from atelier.tasks.find import find
from atelier.tasks.records import RecordSampler
from atelier.training.checkpoint import PretrainedModel
from atelier.training.distributed import Ranks, choose_device
from atelier.training.run import run
from benchmarks import translation
from benchmarks.finetune_ways import add_ways, chosen_ways
from benchmarks.measured import machine, show, spread, table
from components import cli

RECIPE = Path(__file__).parents[1] / "recipes" / "cartoons" / "params.yaml"
NOTICE = "NOTICE.txt"
LICENCES = {"noto": "Apache-2.0 (Noto Emoji, Google)", "openmoji": "CC BY-SA 4.0 (OpenMoji)"}
STYLE = "openmoji"  # the set of FEW pictures, and the folder of all
FEW = 50
THERE, BACK = "there", "back"  # sets of pairs, each from one product's input to what it should become
DIRECTIONS = {THERE: ("a_to_b", "noto", STYLE), BACK: ("b_to_a", STYLE, "noto")}
CYCLEGAN = {
    **{"width": 24, "blocks": 2, "halvings": 1, "upsample": "nearest", "residual": True, "eps": 0.1},
    **{"width_discriminator": 32, "layers_discriminator": 2},
}
TRAIN = {  # as the recipe, but
    **{"images": 10000, "translation": {"cycle": 0.5, "identity": 0.5}, "regularizers": {"r1": 3.0, "r2": 3.0}},
    **{"lr_generator": 0.001, "augment": "diffaugment", "save_every": 5000, "evaluate_every": 5000},
}
BUDGET = {"images": 2400, "log_every": 400, "save_every": 2400, "evaluate_every": 2400}
MEASURED = ["frechet", "kernel", "content", "l1"]
COLUMNS = 10  # of the grid


class Way(NamedTuple):
    """A training: whether it begins with the base, and what it sets otherwise."""

    fine_tuned: bool
    changed: tuple[str, ...] = ()


WAYS = {
    "from scratch": Way(False),
    "fine-tuned": Way(True),
    "fine-tuned, FreezeD 1": Way(True, ("finetune.freeze_discriminator=1",)),
    "fine-tuned, FreezeD 2": Way(True, ("finetune.freeze_discriminator=2",)),
}
MORE = {
    "fine-tuned, no augmentation": Way(True, ("finetune.augment=none",)),
    "fine-tuned, cycle 5": Way(True, ("finetune.translation.cycle=5.0",)),
}
Both = dict[str, Evaluation]  # by direction


def settings_of(folder: Path, overrides: list[str]) -> Settings:
    """The recipe's settings with the new style's sets in `folder` and a section `finetune`: as `train`, for fewer images."""
    recipe = read(RECIPE)
    images = {key: value for key, value in recipe["data"]["noto"].items() if key != "group_by"}
    style = {"path": str(folder / "few"), "licence": LICENCES[STYLE], "holdout": 0.0}
    pairs = {"path": str(folder / "images"), "licence": "; ".join(LICENCES.values())}
    sets = {STYLE: images | style}
    for name, (_, given, to) in DIRECTIONS.items():
        sets[name] = recipe["data"]["pairs"] | pairs | {"fields": {"input": {"from": given}, "target": {"from": to}}}
    learnt = {"data": {"a": "noto", "b": STYLE}, "evaluate_samples": FEW, "init_from": "base", "freeze_discriminator": 0}
    base = recipe["train"] | TRAIN
    made = {"model.architecture": "cyclegan", "model.cyclegan": CYCLEGAN, "train": base, "finetune": base | BUDGET | learnt}
    made |= {f"data.{name}": one for name, one in sets.items()}
    return load(RECIPE, [*(f"{key}={json.dumps(value)}" for key, value in made.items()), *overrides])


def bring(folder: Path, output: Path) -> None:
    """Emoji that both have drawn, in a folder for each style, as the recipes cartoons and sketch bring them into `folder`."""
    if (output / NOTICE).exists():
        return
    for name in ("cyclegan", "pix2pix"):  # whose sets these are
        translation.prepared(name, folder)
    places = folder / "cartoons" / "images" / "google", folder / "sketch" / "images" / "color"
    with atomic_folder(output, NOTICE) as images:
        meet(*places, images)
        notices = [(place.parent / NOTICE).read_text(encoding="utf-8") for place in places]
        (images / NOTICE).write_text("".join(notices), encoding="utf-8")


def meet(noto: Path, drawn: Path, images: Path) -> None:
    """Copies pictures of equal code points into a folder for each style, by one name."""
    same = {_code_points(path): path for path in drawn.glob("*.png")}
    for style in LICENCES:
        (images / style).mkdir()
    for path in sorted(noto.glob("*.png")):
        if other := same.get(_code_points(path)):
            shutil.copyfile(path, images / "noto" / path.name)
            shutil.copyfile(other, images / STYLE / path.name)


def _code_points(path: Path) -> str:
    """Those of a picture's name, without the selector that asks for color, which not all vendors write."""
    return path.stem.lower().replace("-fe0f", "")


def prepared(folder: Path, settings: Settings) -> dict[str, PackedDataset]:
    """The sets of `settings` that the new style has: pairs in both directions, and the few of them that are learnt from."""
    for name in (*DIRECTIONS, STYLE):
        if not (folder / "data" / name / NAME).exists():
            if name == STYLE:
                write_few(PackedDataset(folder / "data" / THERE), folder / "few")
            pack(settings.data[name], folder / "data" / name, section=f"data.{name}")
    return {name: PackedDataset(folder / "data" / name) for name in (*DIRECTIONS, STYLE)}


def write_few(pairs: PackedDataset, folder: Path) -> None:
    """The first FEW different targets of training pairs, whose order is that of their hashes."""
    targets = pairs.read(np.arange(len(pairs)))["target"]
    _, first = np.unique(targets.reshape(len(targets), -1), axis=0, return_index=True)
    with atomic_folder(folder) as images:
        for number, index in enumerate(sorted(first)[:FEW]):
            Image.fromarray(targets[index].transpose(1, 2, 0)).save(images / f"{number:02}.png")


def train(
    settings: Settings,
    section: TrainSettings,
    sets: Mapping[str, PackedDataset],
    output: Path,
    states: Path,
    cache: Path,
    device: torch.device,
    start: PretrainedModel | None = None,
) -> Path:
    """Trains on the sets that the section names, from `start` or from scratch; returns the checkpoint folder, `output`.

    What `states` holds of such a run is not trained again.
    """
    task, data = find(settings.model.task), {role: sets[name] for role, name in section.sets.items()}
    measure, measured_by = measure_while_training(task, section, settings.evaluate, data, cache, Ranks(), device)
    run(
        task,
        settings.model,
        section,
        data,
        output,
        states,
        measure,
        measured_by,
        device,
        Ranks(),
        git={},
        start=start,
    )
    return output


def rows(found: Mapping[str, list[Both]]) -> Iterator[list[str]]:
    """Rows of the table: the untranslated input, what was `found` of each translator by seed, and real images of the target."""
    one = next(iter(found.values()))[0]

    def beside(prefix: str, direction: str, kind: str) -> str:
        measurement = one[direction].of_kind(f"{prefix}_{kind}")
        return f"{measurement.value:.4g}" if measurement else "–"

    columns = [(THERE, "frechet"), (THERE, "kernel"), (THERE, "content"), (THERE, "l1"), (BACK, "kernel")]
    yield ["untranslated pictures", *(beside("input", *column) for column in columns)]
    for name, evaluations in found.items():
        yield [name, *(spread([_value(each[direction], kind) for each in evaluations]) for direction, kind in columns)]
    yield ["as many other real pictures", *(beside("floor", *column) for column in columns)]


def _value(evaluation: Evaluation, kind: str) -> float:
    measurement = evaluation.of_kind(kind)
    assert measurement  # MEASURED asks for it
    return measurement.value


def report(args: argparse.Namespace) -> Iterator[str]:
    """Lines of the report."""
    folder, cache, device = args.folder / "finetune", args.folder / "cache", choose_device("auto")
    settings = settings_of(folder, args.set)
    bring(args.folder, folder / "images")
    sets = prepared(folder, settings) | translation.prepared("cyclegan", args.folder)
    held_out = {name: PackedDataset(sets[name].folder, "test") for name in DIRECTIONS}
    chosen = settings.evaluate.model_copy(update={"metrics": MEASURED, "samples": min(map(len, held_out.values()))})
    evaluators = {name: Evaluator(pairs, chosen, cache, device, keep=True) for name, pairs in held_out.items()}
    pictures = list[np.ndarray]()

    def measured(model: Path, shown: bool) -> Both:
        products = {name: load_generator(part_of(model, DIRECTIONS[name][0]), device) for name in DIRECTIONS}
        if shown:
            sample = next(iter(evaluators[THERE].sampler(products[THERE], (), RecordSampler)(COLUMNS)))
            assert sample.input is not None and sample.target is not None  # records of pairs
            pictures[:] = [sample.input, *pictures[1:-1], sample.images, sample.target]
        return {name: evaluators[name].measure(products[name], (), RecordSampler) for name in DIRECTIONS}

    yield machine(("torch",))
    with tempfile.TemporaryDirectory() as scratch:
        states = folder / "states"  # a folder for each training, since a new one removes what is finished beside it
        base = train(settings, settings.train, sets, Path(scratch) / "base", states / "base", cache, device)
        found = {"base, never saw OpenMoji": [measured(base, shown=True)]}
        for name in chosen_ways(args.ways, WAYS | MORE):
            found[name] = []
            for seed in args.seeds:
                way, run_name = (WAYS | MORE)[name], f"{name}-{seed}"
                section = settings_of(folder, [*args.set, *way.changed, f"finetune.seed={seed}"]).trainings["finetune"]
                start = PretrainedModel(base) if way.fine_tuned else None
                model = train(settings, section, sets, Path(scratch) / run_name, states / run_name, cache, device, start)
                found[name].append(measured(model, shown=seed == args.seeds[0]))
    every = [both for evaluations in found.values() for both in evaluations]
    for other, direction in ((other, direction) for other in every[1:] for direction in DIRECTIONS):
        for mine, theirs in zip(every[0][direction].measurements, other[direction].measurements, strict=True):
            compare(mine, theirs)  # refuses numbers of different identity
    if args.grid:
        atomic_write(args.grid, png(grid(np.concatenate(pictures), COLUMNS)))
    shown = settings.trainings["finetune"].images
    yield ""
    yield f"{chosen.samples} held-out emoji, {chosen.extractor}. Each way has learnt from {FEW} pictures of the new style,"
    yield f"and was shown {shown:,} pictures of each side. Mean (lowest … highest) of seeds {', '.join(map(str, args.seeds))}."
    unrelated = _value(every[0][THERE], "unrelated_content")
    yield f"The change of content between translations of the base and unrelated inputs is {unrelated:.2f}."
    yield ""
    header = ["translator", "Fréchet distance", "kernel distance", "change of content", "L1", "kernel distance of the way back"]
    yield from table(header, list(rows(found)))


def main() -> None:
    """Trains, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[40, 41, 42], help="default: 40 41 42")
    add_ways(parser, WAYS, MORE)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="another value of a setting")
    parser.add_argument("--folder", type=Path, default=translation.FOLDER, help=f"default: {translation.FOLDER}")
    parser.add_argument("--grid", type=Path, metavar="FILE", help="write inputs, what each way makes of them, and targets there")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table there, too")
    args = parser.parse_args()
    show(report(args), args.output)


if __name__ == "__main__":
    cli.run(main)
