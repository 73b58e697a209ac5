"""Trains a generator on packed images, from random weights or from those of another generator.

With --section finetune it reads section `finetune` of params.yaml instead of `train`: rates and budget of its own, FreezeD
(finetune.freeze_discriminator), and finetune.init_from, which says where the weights come from: "base" (the checkpoint of
--base), a checkpoint folder, or models:/NAME@ALIAS. The discriminator and the moving average go on from there, too. Classes are
matched by name; a class that the generator does not know yet starts fresh.

An interrupted run (killed, preempted, power cut) goes on from its last save when the same command runs again, and ends with
the same bytes as if nothing had happened. Its saves are found by themselves in --states: a run is known by its code, data,
settings and starting weights. For the cases in which that is not enough there are two options, which exclude each other:
  --resume RUN     go on with exactly this run: networks, optimizers, schedules, random states and place in the data as they
                   were saved. An error, never a new beginning, if code, data or settings are not those it was started with.
  --init-from X    begin a new run, at step 0 and with fresh optimizers, from the weights of another generator; with --section
                   finetune in place of finetune.init_from.

With --mirror every save also goes to S3, in the background; training never waits for it. Where the disk of --states is lost
with its machine, the same command goes on from there, on any machine. Endpoint and credentials are the usual AWS_* variables;
the credentials must allow to list, get, put and delete objects. Of a finished run stays only what its checkpoint is made of,
for a runner that was killed before it took that over: remove it, or let a lifecycle rule of the bucket do so (a rule whose
days exceed the longest run also clears runs that were given up).
After SIGTERM the process finishes its step, saves, sends the save within 5 of the 10 seconds that it takes at most, and exits
with 75. Kubernetes grants terminationGracePeriodSeconds (30 unless the pod says otherwise; spot nodes often grant 15 to 30) and
tells only process 1 of the container. In a pod of Kubeflow Pipelines that is Argo's executor; it passes the signal on to the
process group, where Kubeflow's launcher does not handle it and ends, so that the container may end before training has saved.
There the saves on schedule (train.save_every) bound what is lost.

example:
  python -m components.train --data data/base --output models/base --states states/train
  python -m components.train --data data/base --output models/base --resume states/train/4f1c2ab09d7e6a35
  python -m components.train --section finetune --base models/base --data data/target --output models/finetuned
  python -m components.train --section finetune --init-from models:/digits@champion --data data/target --output models/finetuned
  python -m components.train --data data/base --output models/base --states states/train --mirror s3://atelier/states
  torchrun --nproc-per-node 2 -m components.train --data data/base --output models/base --states states/train

what the paths hold:
  --data     a packed dataset (components.prepare), or several, in the order of the task that learns from them
  --base     the checkpoint that "base" stands for
  --output   the checkpoint: generator.safetensors and generator.json (the best by train.evaluate_by, not the last),
             networks.safetensors (to go on from), history.json, history.csv and evaluations.csv (curves), grids/ (pictures over
             time), summary.json
  --states   a folder for each run with its last saves; keep it where a retry finds it again, or give --mirror
  --cache    statistics of the real images, by content hash; may be deleted at any time
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from atelier.config.evaluation import EvaluateSettings
from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError
from atelier.config.settings import Settings
from atelier.config.training import BASE, FinetuneSettings, TrainSettings
from atelier.data.packed import PackedDataset
from atelier.io.files import check_folders, check_output
from atelier.registry.versions import resolve
from atelier.tracking.observer import MlflowObserver
from atelier.tracking.provenance import git_state
from atelier.tracking.step_run import step_run
from atelier.training.diagnosis import remarks
from atelier.training.history import alarm_text
from components import cli
from components.contract import CACHE, DEVICE, STEP, Dataset, In, Model, Option, Out, component
from components.packing import packed_otherwise

# What loads PyTorch (seconds) is imported by the functions that need it: a pipeline is made of this component's contract.
if TYPE_CHECKING:
    import torch

    from atelier.models.model import GeneratorInfo
    from atelier.tasks.base import Task
    from atelier.training.distributed import Ranks

PREEMPTIONS = 10  # of a training, after each of which it goes on


def _describe(info: GeneratorInfo) -> dict[str, Any]:
    return {
        "architecture": info.model["architecture"],
        "images_seen": info.images_seen,
        "seed": info.seed,
        "data": info.data["content_hash"],
        "run_key": info.run_key,
        info.metric["identity"]["metric"]: info.metric["value"],
    }


@component(
    reads={
        "model": "model",
        "settings": "train|finetune",
        "evaluate": "evaluate.extractor,weights,layer,seed,batch",  # what chooses the best checkpoint
        "experiment": "registry.experiment",
    },
    computes=True,
    reusable="train",  # finetune.init_from may name an alias of the registry, which moves from one generator to another
    retries=PREEMPTIONS,
    exclusive=("resume_run", "init_from"),
    describe=_describe,
)
def train(
    model: ModelSettings,
    settings: TrainSettings,
    evaluate: EvaluateSettings,
    experiment: str,
    data: Annotated[list[In[Dataset]], "the packed images; of a task that learns from several sets each of them, in its order"],
    output: Annotated[Out[Model], "where the checkpoint goes"],
    states: Annotated[Path, Option("saves of runs (default: states)", default=lambda: Path("states"))],
    cache: Annotated[Path, CACHE],
    device: Annotated[str, DEVICE] = "auto",
    init_from: Annotated[
        str | None,
        Option("begin a new run from this checkpoint folder, or models:/NAME@ALIAS of the registry", metavar="X"),
    ] = None,
    resume_run: Annotated[Path | None, Option("go on with this run of --states, or fail", metavar="RUN", flag="--resume")] = None,
    section: Annotated[Literal["train", "finetune"], "which section of params.yaml (default: train)"] = "train",
    base: Annotated[In[Model] | None, 'the checkpoint that init_from "base" means'] = None,
    step: Annotated[str, STEP] = "",
    mirror: Annotated[str | None, Option("s3://bucket/prefix that saves go to as well (default: none)", metavar="S3")] = None,
    packing: Settings | None = None,
) -> GeneratorInfo:
    """Trains on the packed images of `data`, a folder for each of the task's sets, and writes the checkpoint folder `output`.

    `settings` are those of `section`. Of `evaluate` only what `watching` keeps matters: it chooses the best checkpoint.
    `init_from` is a checkpoint folder or models:/NAME@ALIAS; without it fine-tuning begins where its settings say, "base" being
    the folder `base`. `resume_run` is a run's folder of saves, and stands for `states` and `init_from`. `step` is the name of the
    MLflow run in `experiment`. `mirror` is an s3:// prefix for copies of the saves. `packing` says how the images should have
    been packed; None where they are known to be. Raises Preempted (state saved, run again), TrainingStopped, StateError,
    DataError, StorageError and others.
    """
    from atelier.metrics.while_training import measure_while_training
    from atelier.tasks.find import find
    from atelier.training.checkpoint import SUMMARY, PretrainedModel
    from atelier.training.distributed import DistributedError, choose_device, ranks
    from atelier.training.run import run, run_key, with_precision
    from atelier.training.states import RunFolder
    from components import resume

    if init_from is None and isinstance(settings, FinetuneSettings):
        if settings.init_from == BASE and base is None and resume_run is None:
            raise SettingsError("finetune.init_from is base: say with --base which checkpoint that is, or give --init-from")
        init_from = str(base) if settings.init_from == BASE else settings.init_from
    check_output(output, SUMMARY)
    check_folders(resume_run.parent if resume_run else states, cache)
    chosen = choose_device(device)
    with ranks(chosen) as these, contextlib.ExitStack() as stack:
        if settings.nodes > these.world:
            raise DistributedError(
                f"{section}.nodes is {settings.nodes}, but only {these.world} processes train: Kubeflow starts those machines "
                f"for its pipelines; on one machine set {section}.nodes: 1"
            )
        if resume_run:
            resume_run = resume_run.resolve()
            if mirror and these.first_on_node:
                RunFolder(resume_run.parent, resume_run.name, mirror).fetch()
            these.any(False, chosen)
            states, init_from = resume_run.parent, resume.started_with(resume_run)["init_from"]
        task = find(model.task)
        sets = _sets(task, settings, data, section)
        if packing:
            for name, images in sets.items():
                differing = packed_otherwise(images.manifest, images.folder, packing, settings.sets[name])
                if differing and these.first:
                    print(differing, file=sys.stderr)
        parent, init_from = _fetched(init_from, cache, these, chosen) if init_from else (None, None)
        start = PretrainedModel(parent) if parent else None
        measure, measured_by = measure_while_training(task, settings, evaluate, sets, cache, these, chosen)

        def folder(settings: TrainSettings) -> RunFolder:
            return RunFolder(states, run_key(task, model, settings, sets, measured_by, start), mirror)

        settings = with_precision(settings, chosen, these, folder, section)
        key = folder(settings).key
        started = resume.describe(task, model, settings, sets, measured_by, init_from, start)
        if these.first:
            resume.check(resume_run, states, key, started)
            tracked = stack.enter_context(step_run(step or section, experiment, started, run_key=key))
        infos = run(
            task=task,
            model=model,
            settings=settings,
            data=sets,
            output=output,
            states=states,
            measure=measure,
            measured_by=measured_by,
            device=chosen,
            ranks=these,
            git=git_state(),
            observers=[MlflowObserver(tracked)] if these.first else [],
            start=start,
            mirror=mirror,
        )
        return next(iter(infos.values()))


def _sets(task: type[Task], settings: TrainSettings, folders: list[Path], section: str) -> dict[str, PackedDataset]:
    """The sets that a task learns from, by its names for them. Raises SettingsError, DataError."""
    from atelier.tasks.find import check_sets, name_of

    check_sets(task, settings, section)
    if len(folders) != len(task.sets):
        wanted = ", ".join(task.sets)
        raise SettingsError(
            f"--data: {len(folders)} sets, but task {name_of(task)} learns from {wanted}; give a folder for each, in this order"
        )
    return dict(zip(task.sets, map(PackedDataset, folders), strict=True))


def _fetched(where: str, cache: Path, these: Ranks, device: torch.device) -> tuple[Path, str]:
    """A checkpoint folder, the one that is named or a copy of the registered generator that is, and what it is called.

    An alias is called by its version, so that --resume finds the same weights when the alias has moved.
    """
    from atelier.registry.fetch import REGISTRY, copy_of, load_checkpoint

    if not where.startswith(REGISTRY):
        return Path(where), where
    copy = copy_of(where, cache)
    if these.first:
        version = resolve(where)
        where = f"{REGISTRY}{version.name}/{version.version}"
        load_checkpoint(where, copy)
    these.any(False, device)
    return copy, where


def main() -> None:
    """The command line."""
    args = cli.parser(train, __doc__).parse_args()
    if args.init_from and args.section == "finetune":
        args.set.append(f"finetune.init_from={args.init_from}")
        args.init_from = None
    settings = cli.settings(args)
    report(args.output, cli.call(train, args, settings, packing=settings))


def report(output: Path, info: GeneratorInfo) -> None:
    """Prints the checkpoint in a line, and the remarks on its training; under torchrun the first rank does."""
    from atelier.training.checkpoint import read_history

    if os.environ.get("RANK", "0") == "0":
        metric = info.metric
        print(f"{output}: best at {info.images_seen} images, {metric['identity']['metric']} {metric['value']:.4g}")
        several = output / info.product  # whose histories are the same
        history = read_history(several if several.is_dir() else output)
        for alarm in history["alarms"]:
            print(f"  {alarm_text(alarm)}")
        for remark in remarks(history["points"]):
            print(f"  {remark.text}")


if __name__ == "__main__":
    cli.run(main)
