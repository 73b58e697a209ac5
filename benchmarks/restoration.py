"""How fast does a restorer train, how near does it come, and what do large pictures cost? Atelier beside public code.

SRResNet and RRDB learn to make the photos of recipe upscale, whole, four times as large, in two stages: by pixels alone, then
from there against a discriminator, with a perceptual loss. Networks, batch, rates and weights are the same, each side is a
process of its own. First Atelier for --minutes a stage, as many crops as a short run says that these allow; then for as many
seconds a loop as public code writes it (benchmarks/restoration_loop.py), BasicSR's own trainer
(benchmarks/restoration_peer.py), and Atelier in bfloat16, where the device has instructions for it. Seconds are from the
making of the networks to the saved model; crops a second are those of the steps, with all that they read. Atelier cuts and
degrades whole pictures while it trains; the others read pairs of squares of 240 px that were cut out and degraded before, with
a crop of 64 px as much of each as BasicSR's own recipes (480 px, 128 px). Crops a second of computing are of processor time, that
of processes that read included, so that other work on the machine does not count; Atelier's are of the second half of its steps.
Set OMP_NUM_THREADS=1 for these: threads that wait for each other compute, too. Afterwards squares of held-out photos are
restored by all and measured alike. Then both make large pictures in tiles: benchmarks/restoration_tiles.py.

    make bench-restoration                                         half an hour on 2 cores
    .venv/bin/python -m benchmarks.restoration --compare srresnet --minutes 0.2
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from atelier.config.data import IMAGE
from atelier.config.settings import Settings, load
from atelier.data import packages, wallpapers
from atelier.data.manifest import NAME
from atelier.data.pack import pack
from atelier.data.packed import PackedDataset
from atelier.extractors.perceptual import load_perception
from atelier.io.files import atomic_folder
from atelier.metrics.evaluator import Evaluator
from atelier.models.model import from_uint8, load_generator, to_uint8
from atelier.networks.base import Generator
from atelier.networks.resize import shrunk
from atelier.tasks.restoration.task import GENERATOR, Restoration
from atelier.training.checkpoint import PretrainedModel
from atelier.training.distributed import Ranks, choose_device
from atelier.training.history import Observer
from atelier.training.precision import native
from atelier.training.run import run
from benchmarks import restoration_tiles
from benchmarks.measured import computing_seconds, machine, peak_megabytes, show, table, watched
from benchmarks.restoration_loop import CLEAN, GIVEN, RestorationLoop
from benchmarks.restoration_peer import BasicSRLoop
from benchmarks.zoo import Computing
from components import cli

ROOT = Path(__file__).parents[1]
RECIPE, SET = "upscale", "photos"
FOLDER = Path("data/restoration")
SQUARES, DONE = "squares", "done"
SQUARE, APART = 240, 120  # pixels a side of what others read, and from one to the next
SPEED_STEPS = 32  # of the run that finds out how fast a stage is
MEASURED = 60  # held-out squares
COMPARED: dict[str, dict[str, Any]] = {
    "srresnet": {"width": 48, "blocks": 6, "width_discriminator": 32, "layers_discriminator": 4, "norm_discriminator": "none"},
    "rrdb": {"width": 32, "blocks": 2, "growth": 16, "residual": True, "width_discriminator": 32},
}
STAGES = {"pixels": "train", "discriminator": "finetune"}
SIDES = {"loop": "plain loop", "basicsr": "BasicSR", "atelier": "Atelier", "bfloat16": "Atelier, bfloat16"}
COMMON = {
    "objective": "nonsaturating", "batch": 8, "lr_generator": 0.0005, "lr_final": 1.0, "ema_ramp": 0.0, "precision": "float32",
}  # fmt: skip
WITH_DISCRIMINATOR = {"pixel": 0.5, "perceptual": 1.0, "adversarial": 0.02}
OF_STAGE = {"train": {}, "finetune": {"lr_generator": 0.0001, "lr_discriminator": 0.0001}}


def settings_of(name: str, changed: Mapping[str, Any]) -> Settings:
    """The recipe's settings with those that are compared; `changed` are keys of both stages."""
    values: dict[str, Any] = {"model.architecture": name, f"model.{name}": COMPARED[name]}
    for section, own in OF_STAGE.items():
        values |= {f"{section}.{key}": value for key, value in {**COMMON, **own, **changed}.items()}
    values |= {f"finetune.restoration.{key}": weight for key, weight in WITH_DISCRIMINATOR.items()}
    return load(ROOT / "recipes" / RECIPE / "params.yaml", [f"{key}={json.dumps(one)}" for key, one in values.items()])


def prepared(folder: Path) -> PackedDataset:
    """The whole photos at half their size, of which the recipe takes pieces, brought and packed where they are missing."""
    images, packed = folder / RECIPE / "images", folder / RECIPE / "data" / SET
    if not (packed / NAME).exists():
        if not images.exists():
            with atomic_folder(images, packages.NOTICE) as aside:
                wallpapers.bring(aside / SET)
                (aside / packages.NOTICE).write_text(wallpapers.LICENCES, encoding="utf-8")
        whole = {"path": str(images / SET), "split": "draw", "holdout": 0.2}
        pack(settings_of("srresnet", {}).data[SET].model_copy(update=whole), packed, section=f"data.{SET}")
    return PackedDataset(packed)


def squares(folder: Path, scale: int) -> Path:
    """The folder of the pairs of files that others read, cut out of the training photos where they are missing."""
    output = folder / RECIPE / SQUARES
    if not (output / DONE).exists():
        shutil.rmtree(output, ignore_errors=True)
        for part in (CLEAN, GIVEN):
            (output / part).mkdir(parents=True)
        data = prepared(folder)
        for number in range(data.pictures):
            picture = torch.from_numpy(data.picture(number)[IMAGE].copy())
            for top, left in itertools.product(*(range(0, side - SQUARE + 1, APART) for side in picture.shape[1:])):
                clean = picture[None, :, top : top + SQUARE, left : left + SQUARE]
                given = to_uint8(shrunk(from_uint8(clean), scale))
                for part, one in ((CLEAN, clean.numpy()), (GIVEN, given)):
                    file = output / part / f"{number:02d}-{top:04d}-{left:04d}.png"
                    Image.fromarray(one[0].transpose(1, 2, 0)).save(file)
        (output / DONE).touch()
    return output


Told = dict[str, dict[str, Any]]
"""By stage: images, seconds, megabytes, crops a second by the clock and of computing, and what was measured."""


def atelier(name: str, folder: Path, minutes: Mapping[str, float], kept: Path, scratch: Path, precision: str = "float32") -> Told:
    """Trains each stage for about so many minutes; its budget is what a short run managed. The models stay in `kept`."""
    data, told = prepared(folder), Told()
    start: PretrainedModel | None = None
    for stage, section in STAGES.items():
        heard, steps = Computing(), SPEED_STEPS * settings_of(name, {}).trainings[section].batch
        common = {"precision": precision}
        _train(name, section, data, common | _budget(steps, steps // 2), scratch / f"{stage}-probe", start, [heard])
        images = max(int(heard.images_per_second * minutes[stage] * 60), steps)
        output, began = kept / stage, time.monotonic()
        _train(name, section, data, common | _budget(images, images // 2), scratch / stage, start, [heard], output)
        spent = {"seconds": time.monotonic() - began, "megabytes": peak_megabytes()} | heard.speeds
        start = PretrainedModel(output)
        told[stage] = {"images": images, **spent, **_measured(name, section, folder, load_generator(output))}
    return told


def bfloat16(name: str, folder: Path, minutes: Mapping[str, float], kept: Path, scratch: Path) -> Told:
    """As `atelier`, under autocast."""
    return atelier(name, folder, minutes, scratch / "models", scratch, "bfloat16")


def loop(name: str, folder: Path, minutes: Mapping[str, float], kept: Path, scratch: Path) -> Told:
    """Trains each stage for so many minutes."""
    told, before = Told(), None
    for stage, section in STAGES.items():
        task, began = _task(name, section, folder), time.monotonic()
        if before is not None:
            task.networks[GENERATOR].load_state_dict(before.state_dict())
        plain = RestorationLoop(task, squares(folder, task.settings.scale))
        speeds = _speeds(plain, began + minutes[stage] * 60)
        torch.save(plain.average.state_dict(), scratch / f"{stage}.pth")
        before = plain.average
        assert isinstance(before, Generator)
        spent = {"seconds": time.monotonic() - began, "megabytes": peak_megabytes()} | speeds
        told[stage] = {"images": plain.images, **spent, **_measured(name, section, folder, before)}
    return told


def basicsr(name: str, folder: Path, minutes: Mapping[str, float], kept: Path, scratch: Path) -> Told:
    """The same by BasicSR's trainer."""
    told, start = Told(), None
    for stage, section in STAGES.items():
        task, began = _task(name, section, folder), time.monotonic()
        (own := scratch / stage).mkdir()
        with contextlib.redirect_stdout(sys.stderr):
            peer = BasicSRLoop(task, squares(folder, task.settings.scale), own, start)
            speeds = _speeds(peer, began + minutes[stage] * 60)
        start = peer.saved
        spent = {"seconds": time.monotonic() - began, "megabytes": peak_megabytes()} | speeds
        told[stage] = {"images": peer.images, **spent, **_measured(name, section, folder, peer.average)}
    return told


def _speeds(trained: RestorationLoop | BasicSRLoop, until: float) -> dict[str, float]:
    """Trains until then; how many crops the steps took a second, reading included, and a second of computing."""
    since, computed = time.monotonic(), computing_seconds()
    trained.train(until)
    return {
        "speed": trained.images / (time.monotonic() - since),
        "computing": trained.images / (computing_seconds() - computed),
    }


def _task(name: str, section: str, folder: Path) -> Restoration:
    """The networks of a stage, with equal weights on each side."""
    settings = settings_of(name, {})
    train = settings.trainings[section]
    torch.manual_seed(train.seed)
    return Restoration.build(settings.model, train, {"data": prepared(folder)})


def _budget(images: int, every: int) -> dict[str, Any]:
    """A budget without measurements on the way."""
    return {"images": images, "log_every": every, "save_every": images, "evaluate_from": 1.0}


def _train(
    name: str,
    section: str,
    data: PackedDataset,
    changed: dict[str, Any],
    scratch: Path,
    start: PretrainedModel | None,
    observers: list[Observer],
    output: Path | None = None,
) -> None:
    settings = settings_of(name, changed)

    def measure(_: Any) -> tuple[float, dict[str, Any]]:
        return 0.0, {"identity": {"metric": "none"}, "metrics": {}}

    run(
        Restoration,
        settings.model,
        settings.trainings[section],
        {"data": data},
        output or scratch / "model",
        scratch / "states",
        measure,
        {},
        choose_device("auto"),
        Ranks(),
        {},
        observers,
        start,
    )


def _measured(name: str, section: str, folder: Path, generator: Generator) -> dict[str, Any]:
    settings = settings_of(name, {})
    held_out = PackedDataset(prepared(folder).folder, "test")
    chosen = settings.evaluate.model_copy(update={"metrics": ["psnr_y", "perceptual"], "samples": MEASURED})
    sampling = Restoration.sampling_of(settings.trainings[section].plain()["restoration"])
    found = Evaluator(held_out, chosen, folder / "cache").measure(generator, (), sampling)
    kinds = ("psnr_y", "perceptual", "bicubic_psnr_y", "bicubic_perceptual")
    return {kind: one.value for kind in kinds if (one := found.of_kind(kind))}


def report(args: argparse.Namespace) -> Iterator[str]:
    """Lines of the report."""
    yield machine(("torch", "torchvision", "numpy", "pillow"))
    yield ""
    squares(args.folder, settings_of("srresnet", {}).train.of_task("restoration").scale)
    rows, tiles, told = list[list[str]](), list[list[str]](), Told()
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.compare:
            kept = Path(scratch) / name
            kept.mkdir()
            told, found = _rows(name, args, kept)
            rows += found
            tiles += restoration_tiles.rows(name, kept / next(iter(STAGES)), prepared(args.folder).folder)
    header = ["model", "stage", "trained by", "crops", "s", "crops/s", "times as fast", "crops/s of computing", "times as fast"]
    yield from table([*header, "PSNR of luma, dB", "perceptual distance", "peak, MB"], rows)
    yield ""
    one = told[next(iter(STAGES))]
    yield (
        f"PSNR and distance are means of {MEASURED} squares of held-out photos; enlarged bicubically these are at "
        f"{one['bicubic_psnr_y']:.2f} dB and {one['bicubic_perceptual']:.4f}."
    )
    yield ""
    yield from table(restoration_tiles.HEADER, tiles)


def _rows(name: str, args: argparse.Namespace, kept: Path) -> tuple[Told, list[list[str]]]:
    faster = ["bfloat16"] if native(choose_device("auto")) == "bfloat16" else []
    found, minutes = dict[str, Told](), dict.fromkeys(STAGES, args.minutes)
    for side in ("atelier", "loop", "basicsr", *faster):
        command = ["-m", "benchmarks.restoration", "--compare", name, "--folder", str(args.folder), "--kept", str(kept)]
        said = watched(f"{name}, {SIDES[side]}", [*command, "--side", side, "--stages", json.dumps(minutes)])
        found[side] = json.loads(said.stdout.splitlines()[-3])
        minutes = {stage: one["seconds"] / 60 for stage, one in found["atelier"].items()}
    order = [side for side in SIDES if side in found]
    return found["loop"], [
        _row(name, stage, side, found[side][stage], found["loop"][stage]) for stage in STAGES for side in order
    ]


def _row(name: str, stage: str, side: str, one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [
        name,
        stage,
        SIDES[side],
        f"{one['images']:,}",
        f"{one['seconds']:.0f}",
        f"{one['speed']:.1f}",
        f"{one['speed'] / other['speed']:.2f}",
        f"{one['computing']:.1f}",
        f"{one['computing'] / other['computing']:.2f}",
        f"{one['psnr_y']:.2f}",
        f"{one['perceptual']:.4f}",
        f"{one['megabytes']:.0f}",
    ]


def main() -> None:
    """Measures, prints the tables; with --side one side of the first, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--compare", nargs="+", choices=COMPARED, default=list(COMPARED), metavar="NAME", help=f"default: {' '.join(COMPARED)}"
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="of training for each side and stage (default: 1)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"of the photos, default: {FOLDER}")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the tables there, too")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--stages", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--kept", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.side:
        show(report(args), args.output)
        return
    side = {"atelier": atelier, "bfloat16": bfloat16, "loop": loop, "basicsr": basicsr}[args.side]
    load_perception("efficientnet_lite0", "packaged", "restoration.perceptual_network")  # whose imports take seconds, once
    with tempfile.TemporaryDirectory(dir=args.kept) as scratch:
        told = side(args.compare[0], args.folder, args.stages, args.kept, Path(scratch))
    print(json.dumps(told))


if __name__ == "__main__":
    cli.run(main)
