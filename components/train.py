"""Trains a generator on packed images, from random weights or from those of another generator.

An interrupted run (killed, preempted, power cut) goes on from its last save when the same command runs again, and ends with
the same bytes as if nothing had happened. Its saves are found by themselves in --states: a run is known by its code, data,
settings and starting weights. For the cases in which that is not enough there are two options, which exclude each other:
  --resume RUN     go on with exactly this run: networks, optimisers, schedules, random states and place in the data as they
                   were saved. An error, never a new beginning, if code, data or settings are not those it was started with.
  --init-from X    begin a new run, at step 0 and with fresh optimisers, from the weights of another generator.

example:
  python -m components.train --data data/base --output models/base --states states/train
  python -m components.train --data data/base --output models/base --resume states/train/4f1c2ab09d7e6a35
  torchrun --nproc-per-node 2 -m components.train --data data/base --output models/base --states states/train

what the paths hold:
  --data     a packed dataset (components.prepare)
  --output   the checkpoint: generator.safetensors and generator.json (the best by the evaluation metric, not the last),
             players.safetensors (to go on from), history.json, history.csv and evaluations.csv (curves), grids/ (pictures over
             time), summary.json
  --states   a folder for each run with its last saves; keep it where a retry finds it again
  --cache    statistics of the real images, by content hash; may be deleted at any time
"""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path
from typing import Any

import torch

from atelier.data.packed import PackedDataset
from atelier.files import check_output
from atelier.generator import INFO, GeneratorInfo
from atelier.metrics.cache import code_version
from atelier.metrics.evaluate import Evaluator
from atelier.registry.fetch import load_checkpoint
from atelier.registry.lineage import git_state
from atelier.registry.observer import MlflowObserver
from atelier.registry.tracking import step_run
from atelier.registry.versions import resolve
from atelier.settings import EvaluateSettings, ModelSettings, TrainSettings
from atelier.training.checkpoint import Start
from atelier.training.distributed import Ranks, choose_device, ranks
from atelier.training.loop import Measure
from atelier.training.run import run, run_key
from components import cli, resume

REGISTRY = "models:/"


def train(
    model: ModelSettings,
    settings: TrainSettings,
    evaluate: EvaluateSettings,
    experiment: str,
    data: Path,
    output: Path,
    states: Path,
    cache: Path,
    device: str = "auto",
    init_from: str | None = None,
    resume_run: Path | None = None,
    step: str = "train",
) -> GeneratorInfo:
    """Trains on the packed images of `data` and writes the checkpoint folder `output`.

    Of `evaluate` only what `watching` keeps matters: it chooses the best checkpoint. `init_from` is a checkpoint folder or
    models:/NAME@ALIAS. `resume_run` is a run's folder of saves, and stands for `states` and `init_from`. `step` is the name
    of the MLflow run in `experiment`. Raises Preempted (state saved, run again), TrainingStopped, StateError and others.
    """
    check_output(output, INFO)
    chosen = choose_device(device)
    with ranks(chosen) as these, contextlib.ExitStack() as stack:
        if resume_run:
            resume_run = resume_run.resolve()
            states, init_from = resume_run.parent, resume.started_with(resume_run)["init_from"]
        parent, init_from = _fetched(init_from, cache, these, chosen) if init_from else (None, None)
        start = Start(parent) if parent else None
        images = PackedDataset(data)
        measure, measured_by = measure_by_distance(images, watching(evaluate, settings), cache, these, chosen)
        key = run_key(model, settings, images, measured_by, start)
        started = resume.describe(model, settings, images.content_hash, measured_by, init_from, start)
        if these.first:
            resume.check(resume_run, states, key, started)
            tracked = stack.enter_context(step_run(step, experiment, started, run_key=key))
        return run(
            model=model,
            settings=settings,
            data=images,
            output=output,
            states=states,
            measure=measure,
            measured_by=measured_by,
            device=chosen,
            ranks=these,
            git=git_state(),
            observers=[MlflowObserver(tracked)] if these.first else [],
            start=start,
        )


def watching(evaluate: EvaluateSettings, settings: TrainSettings) -> EvaluateSettings:
    """How checkpoints are compared while training: by the distance alone, on train.evaluate_samples images."""
    return evaluate.model_copy(update={"metrics": ["frechet"], "samples": settings.evaluate_samples})


def measure_by_distance(
    images: PackedDataset, settings: EvaluateSettings, cache: Path, these: Ranks, device: torch.device
) -> tuple[Measure, dict[str, Any]]:
    """The distance of a generator from the images, and what that number depends on besides the generator."""
    if not these.first:
        these.any(False, device)  # the first rank has filled the cache
    evaluator = Evaluator(images, settings, cache, device, progress=these.first)
    if these.first:
        these.any(False, device)
    evaluator.progress = False
    extractor = evaluator.extractor
    assert extractor is not None  # the distance needs one
    measured_by = {
        "extractor": extractor.name,
        "weights": extractor.weights_hash,
        "resize": extractor.resize,
        "code": code_version()["code"],
        "samples": settings.samples,
        "seed": settings.seed,
    }

    def measure(generator: torch.nn.Module) -> tuple[float, dict[str, Any]]:
        (found,) = evaluator(evaluator.sample(generator, images.classes)).measurements
        return found.value, found.to_dict()["identity"]

    return measure, measured_by


def _fetched(where: str, cache: Path, these: Ranks, device: torch.device) -> tuple[Path, str]:
    """A checkpoint folder, the one that is named or a copy of the registered generator that is, and what it is called.

    An alias is called by its version, so that --resume finds the same weights when the alias has moved.
    """
    if not where.startswith(REGISTRY):
        return Path(where), where
    copy = cache / "registered" / where.removeprefix(REGISTRY).replace("/", "@")
    if these.first:
        version = resolve(where)
        where = f"{REGISTRY}{version.name}/{version.version}"
        load_checkpoint(where, copy)
    these.any(False, device)
    return copy, where


def add_arguments(parser: argparse.ArgumentParser, init_from: str) -> None:
    """Arguments that train and finetune share; `init_from` explains that option."""
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="the packed images")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where the checkpoint goes")
    parser.add_argument("--states", type=Path, default=Path("states"), metavar="FOLDER", help="saves of runs (default: states)")
    parser.add_argument("--cache", type=Path, default=Path("cache"), metavar="FOLDER", help="default: cache")
    parser.add_argument("--device", default="auto", help="auto (default: the GPU where there is one), cpu or cuda")
    beginning = parser.add_mutually_exclusive_group()
    beginning.add_argument("--resume", type=Path, metavar="RUN", help="go on with this run of --states, or fail")
    beginning.add_argument("--init-from", metavar="X", help=init_from)


def main() -> None:
    """The command line."""
    parser = cli.parser("train", __doc__)
    add_arguments(parser, "begin a new run from this checkpoint folder, or models:/NAME@ALIAS of the registry")
    args = parser.parse_args()
    settings = cli.settings(args)
    info = train(
        settings.model,
        settings.train,
        settings.evaluate,
        settings.registry.experiment,
        data=args.data,
        output=args.output,
        states=args.states,
        cache=args.cache,
        device=args.device,
        init_from=args.init_from,
        resume_run=args.resume,
    )
    report(args.output, info)


def report(output: Path, info: GeneratorInfo) -> None:
    """Prints the checkpoint in a line; under torchrun the first rank does."""
    if os.environ.get("RANK", "0") == "0":
        metric = info.metric
        print(f"{output}: best at {info.images_seen} images, {metric['identity']['metric']} {metric['value']:.4g}")


if __name__ == "__main__":
    cli.run(main)
