"""What differential privacy costs: the same generator trained with several noises, its epsilon against what is measured of it.

All trainings have the same networks, batches and number of steps; one of noise 0 has neither noise nor cut gradients. Each is
measured as section `evaluate` says, with class shares read and membership inference, against the training images.

    .venv/bin/python -m components.prepare --section data.base --output data/base
    .venv/bin/python -m benchmarks.privacy                 three minutes of a core
    .venv/bin/python -m benchmarks.privacy --noises 0.5 2  two of them
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from atelier.config.settings import Settings, load
from atelier.data.packed import PackedDataset
from atelier.io.pictures import grid, png
from atelier.metrics.evaluator import Evaluation, Evaluator
from atelier.metrics.while_training import measure_while_training
from atelier.models.model import load_generator, read_info, sample
from atelier.tasks.generation.task import Generation
from atelier.training.distributed import Ranks
from atelier.training.judge import judge_of
from atelier.training.run import run
from benchmarks.measured import machine, show, table
from components import cli

CACHE, CPU = Path("cache"), torch.device("cpu")
NOISES = (0.0, 0.5, 1.0, 2.0)
PRIVACY = "train.privacy={{noise: {noise}, largest_norm: 0.5, delta: 1.0e-5}}"
SETTINGS = (
    "model.dcgan.width=8",
    "train.images=64000",
    "train.batch=128",
    "train.objective=hinge",
    "train.regularizers={}",
    "train.augment=none",
    "train.evaluate_from=1.0",
    "train.on_alarm=warn",
    "train.log_every=12800",
    "train.ema_half_life=2000",
    "evaluate.samples=300",
    "evaluate.metrics=[frechet, kernel, prdc, memorised, classifier, membership]",
)
SHOWN = (
    "frechet_efficientnet_lite0", "classifier_confident", "class_share_min", "coverage", "membership_auc", "membership_logit_auc",
)  # fmt: skip


def trained(settings: Settings, data: PackedDataset, folder: Path) -> Evaluation:
    """Trains in a folder, and measures with the discriminator that is left."""
    measure, measured_by = measure_while_training(
        Generation, settings.train, settings.evaluate, {"data": data}, CACHE, Ranks(), CPU
    )
    run(
        Generation, settings.model, settings.train, {"data": data}, folder / "model", folder / "states",
        measure, measured_by, CPU, Ranks(), git={},
    )  # fmt: skip
    generator = load_generator(folder / "model")
    evaluator = Evaluator(data, settings.evaluate, CACHE, CPU)
    return evaluator.measure(generator, generator.info.classes, judge=judge_of(folder / "model", generator))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/base"), help="packed images (default: data/base)")
    parser.add_argument("--noises", type=float, nargs="+", default=NOISES, help="noise multipliers; 0 for none")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another parameter")
    parser.add_argument("--output", type=Path, help="a folder for a picture of each")
    args = parser.parse_args()
    data, rows = PackedDataset(args.data), list[list[Any]]()
    for noise in args.noises:
        private = [PRIVACY.format(noise=noise)] if noise else []
        settings = load("params.yaml", [*SETTINGS, *private, *args.set])
        began = time.process_time()
        with tempfile.TemporaryDirectory() as scratch:
            found = trained(settings, data, Path(scratch)).flat
            seconds = time.process_time() - began
            stated = read_info(Path(scratch) / "model").privacy
            if args.output:
                images = next(sample(load_generator(Path(scratch) / "model"), 80, seed=0, batch=80))
                args.output.mkdir(parents=True, exist_ok=True)
                (args.output / f"noise-{noise:g}.png").write_bytes(png(grid(images, 16)))
        epsilon = f"{stated['epsilon']:.1f}" if stated else "none"
        rows.append([f"{noise:g}", epsilon, *(f"{found[name]:.3g}" for name in SHOWN), f"{seconds:.0f}"])
        print(f"{rows[-1]}", file=sys.stderr)
    show([*table(["noise", "epsilon", *SHOWN, "s of a core"], rows), "", machine(["torch", "opacus"])], None)


if __name__ == "__main__":
    cli.run(main)
