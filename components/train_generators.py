"""Trains the generators of section detect, one after the other: those that a detector learns from, and is measured on.

Each differs from sections model and train in what detect.generators says of it. An interrupted command goes on from the last save
of the generator that was being trained; those that are done are taken from --states, so that adding one trains that one alone.

example:
  python -m components.train_generators --data data/base --output generators --states states/generators

what the paths hold:
  --data     the packed images, as of components.train
  --output   a checkpoint for each generator, in a folder of its name; generators.json, the architecture of each
  --states   a folder for each generator, as of components.train
  --cache    as of components.train
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from atelier.config.evaluation import EvaluateSettings
from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError, parse
from atelier.config.settings import Settings, changed
from atelier.config.training import TrainSettings
from atelier.io.files import atomic_folder, atomic_write, canonical_json, check_output
from components import cli
from components.contract import CACHE, DEVICE, Dataset, In, Model, Option, Out, component
from components.train import PREEMPTIONS, report, train

if TYPE_CHECKING:
    from atelier.models.model import GeneratorInfo  # which loads PyTorch (seconds)

TRAINED = "generators.json"


def _describe(found: dict[str, GeneratorInfo]) -> dict[str, str]:
    return {name: info.model["architecture"] for name, info in found.items()}


@component(
    reads={
        "model": "model",
        "settings": "train",
        "generators": "detect.generators",
        "evaluate": "evaluate.extractor,weights,layer,seed,batch",
        "experiment": "registry.experiment",
    },
    computes=True,
    reusable=True,
    retries=PREEMPTIONS,
    describe=_describe,
)
def train_generators(
    model: ModelSettings,
    settings: TrainSettings,
    generators: dict[str, list[str]],
    evaluate: EvaluateSettings,
    experiment: str,
    data: Annotated[list[In[Dataset]], "the packed images; of a task that learns from several sets each of them, in its order"],
    output: Annotated[Out[Model], "where the checkpoints go"],
    states: Annotated[Path, Option("saves of runs (default: states)", default=lambda: Path("states"))],
    cache: Annotated[Path, CACHE],
    device: Annotated[str, DEVICE] = "auto",
    step: Annotated[str, Option("begin of the names of the MLflow runs (default: generator)", "NAME", "--stage")] = "generator",
    mirror: Annotated[str | None, Option("s3://bucket/prefix that saves go to as well (default: none)", metavar="S3")] = None,
    packing: Settings | None = None,
) -> dict[str, GeneratorInfo]:
    """Trains each of `generators` into a folder of its name in `output`, and returns what each is.

    Their values are changes of `model` and `settings`; the other arguments are those of components.train. Raises SettingsError
    for no generator and under torchrun, and what training raises.
    """
    check_output(output, TRAINED)
    if not generators:
        raise SettingsError("detect.generators: names none; add some, as docs/parameters.md#detect tells")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingsError("several generators are trained by one process; run it without torchrun, or each by components.train")
    found: dict[str, GeneratorInfo] = {}
    with atomic_folder(output, TRAINED) as folder:
        for name, changes in generators.items():
            where = f"detect.generators.{name}"
            values = changed({"model": model.plain(), "train": settings.plain()}, changes, where)
            found[name] = train(
                parse(values["model"], ModelSettings, origin=where, prefix="model"),
                parse(values["train"], TrainSettings, origin=where, prefix="train"),
                evaluate,
                experiment,
                data,
                folder / name,
                states / name,
                cache,
                device,
                step=f"{step}_{name}",
                mirror=f"{mirror}/{name}" if mirror else None,
                packing=packing,
            )
        atomic_write(folder / TRAINED, canonical_json(_describe(found)))
    for name, info in found.items():
        report(output / name, info)
    return found


def main() -> None:
    """The command line."""
    args = cli.parser(train_generators, __doc__).parse_args()
    settings = cli.settings(args)
    cli.call(train_generators, args, settings, packing=settings)


if __name__ == "__main__":
    cli.run(main)
