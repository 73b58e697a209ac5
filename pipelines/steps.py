"""The steps as Kubeflow tasks: which settings each reads, and the call of the component function behind it.

A task's function (written by `pipelines.dag`) hands everything that it was given to `execute`, which validates the settings
with atelier.settings and turns artifacts into paths. This module runs inside the task, so it needs neither params.yaml nor
a repository.
"""

from __future__ import annotations

import inspect
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atelier.errors import AtelierError
from atelier.files import atomic_write
from atelier.settings import SECTIONS, EvaluateSettings, Settings, parse
from components import cli
from pipelines import form

if TYPE_CHECKING:
    from kfp.dsl import HTML, Artifact, Dataset, Input, Markdown, Metrics, Model, Output

    from atelier.generator import GeneratorInfo

PIPELINE_RUN, IMAGE, STATES, CACHE = "ATELIER_PIPELINE_RUN", "ATELIER_IMAGE", "ATELIER_STATES", "ATELIER_CACHE"
TRACKING = "MLFLOW_TRACKING_URI"
ORIGIN = "the run's parameters"

ALL: tuple[str, ...] = ()
EXPERIMENT = ("experiment",)
CHOOSES_BEST = ("extractor", "weights", "seed", "batch")  # of evaluate, while training


class StepError(AtelierError):
    """A task cannot run where it was placed."""


@dataclass(frozen=True)
class Step:
    """A task: its name (also the stage's in dvc.yaml), the title on its box, and what it reads of params.yaml.

    `settings` maps a section to the keys that are read, all of them when empty. `computes`: it runs networks, so it wants
    an accelerator and a place for what it keeps. `reusable`: as long as a source of images keeps its name, the outputs
    depend on image, settings and input artifacts alone, which is what Kubeflow's cache compares.
    """

    name: str
    title: str
    run: Callable[..., None]
    settings: dict[str, tuple[str, ...]]
    computes: bool
    reusable: bool
    artifacts: dict[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """Every key of params.yaml that the step reads, such as train.seed."""
        return [f"{section}.{key}" for section, allowed in self.settings.items() for key in form.keys(section, allowed)]


STEPS: dict[str, Step] = {}


def step(
    title: str, settings: dict[str, tuple[str, ...]], computes: bool = False, reusable: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a function the task of its name. Its first parameter is the settings by section, the others are artifacts."""

    def add(run: Callable[..., None]) -> Callable[..., None]:
        _, *artifacts = inspect.signature(run).parameters.values()
        kinds = {artifact.name: str(artifact.annotation) for artifact in artifacts}
        STEPS[run.__name__] = Step(run.__name__, title, run, settings, computes, reusable, kinds)
        return run

    return add


def execute(name: str, given: dict[str, Any]) -> None:
    """Runs a step inside its task. An expected error is one line on stderr and the exit code of the command lines."""
    found = STEPS[name]
    cli.configure_logging()
    try:
        if not os.environ.get(TRACKING):
            raise StepError(
                f"{TRACKING} is not set, so the records of this step would vanish with its container; submit with "
                "--tracking-uri, or turn on the MLflow plugin of Kubeflow Pipelines"
            )
        found.run(_settings(found, given), **{artifact: given[artifact] for artifact in found.artifacts})
    except AtelierError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error


def _settings(found: Step, given: dict[str, Any]) -> dict[str, Any]:
    """Validated sections; of a section that is read in part, a plain mapping of the keys that are."""
    sections: dict[str, Any] = {}
    for section, allowed in found.settings.items():
        arrived = {key: given[form.parameter(f"{section}.{key}")] for key in form.keys(section, allowed)}
        values = form.plain(section, arrived)
        sections[section] = values if allowed else parse(values, SECTIONS[section], origin=ORIGIN, prefix=section)
    return sections


def _states(name: str) -> Path:
    """Where training keeps its saves. Says so when that is a place that vanishes with the container."""
    if STATES not in os.environ:
        print(f"{STATES} is not set: what is saved is lost with this container; submit with --state-claim", file=sys.stderr)
    return Path(os.environ.get(STATES, Path(tempfile.gettempdir()) / "atelier-states")) / name


def _cache() -> Path:
    return Path(os.environ.get(CACHE, Path(tempfile.gettempdir()) / "atelier-cache"))


# --- the steps: each turns artifacts into paths and calls the component function


@step("Check all settings", dict.fromkeys(SECTIONS, ALL))
def check(settings: dict[str, Any]) -> None:
    """Every section was validated on the way here; what is left are the combinations of several."""
    parse({name: section.model_dump(mode="json") for name, section in settings.items()}, Settings, origin=ORIGIN)


@step("Prepare the base images", {"data": ALL, "registry": EXPERIMENT}, reusable=True)
def prepare_base(settings: dict[str, Any], images: Output[Dataset]) -> None:
    """Packs the base images."""
    _prepare(settings, "data", "prepare_base", images)


@step("Prepare the target images", {"target": ALL, "registry": EXPERIMENT}, reusable=True)
def prepare_target(settings: dict[str, Any], images: Output[Dataset]) -> None:
    """Packs the target images."""
    _prepare(settings, "target", "prepare_target", images)


def _prepare(settings: dict[str, Any], section: str, name: str, images: Output[Dataset]) -> None:
    from components.prepare import prepare

    manifest = prepare(settings[section], Path(images.path), settings["registry"]["experiment"], section, name)
    images.metadata |= {
        "count": manifest.count,
        "resolution": manifest.resolution,
        "channels": manifest.channels,
        "classes": ", ".join(manifest.classes),
        "content_hash": manifest.content_hash,
    }


@step(
    "Train the base generator",
    {"model": ALL, "train": ALL, "evaluate": CHOOSES_BEST, "registry": EXPERIMENT},
    computes=True,
    reusable=True,
)
def train(settings: dict[str, Any], images: Input[Dataset], checkpoint: Output[Model]) -> None:
    """Trains from scratch."""
    from components.train import train

    info = train(
        settings["model"],
        settings["train"],
        _watching(settings["evaluate"]),
        settings["registry"]["experiment"],
        data=Path(images.path),
        output=Path(checkpoint.path),
        states=_states("train"),
        cache=_cache(),
    )
    _describe(checkpoint, info)


# Not reusable: init_from may name an alias of the registry, which moves from one generator to another.
@step(
    "Fine-tune it to the target images",
    {"model": ALL, "finetune": ALL, "evaluate": CHOOSES_BEST, "registry": EXPERIMENT},
    computes=True,
)
def finetune(settings: dict[str, Any], images: Input[Dataset], base: Input[Model], checkpoint: Output[Model]) -> None:
    """Fine-tunes the base generator, or the one that finetune.init_from names."""
    from components.finetune import finetune

    info = finetune(
        settings["model"],
        settings["finetune"],
        _watching(settings["evaluate"]),
        settings["registry"]["experiment"],
        data=Path(images.path),
        output=Path(checkpoint.path),
        states=_states("finetune"),
        cache=_cache(),
        base=Path(base.path),
    )
    _describe(checkpoint, info)


def _watching(chooses_best: dict[str, Any]) -> EvaluateSettings:
    """EvaluateSettings of the keys that matter while training; the component sets the other two."""
    return parse({**chooses_best, "metrics": ["frechet"], "samples": 16}, EvaluateSettings, origin=ORIGIN, prefix="evaluate")


def _describe(checkpoint: Output[Model], info: GeneratorInfo) -> None:
    checkpoint.metadata |= {
        "architecture": info.model["architecture"],
        "images_seen": info.images_seen,
        "seed": info.seed,
        "data": info.data["content_hash"],
        "run_key": info.run_key,
        info.metric["identity"]["metric"]: info.metric["value"],
    }


@step("Measure the base generator", {"evaluate": ALL, "registry": EXPERIMENT}, computes=True, reusable=True)
def evaluate_base(
    settings: dict[str, Any],
    images: Input[Dataset],
    checkpoint: Input[Model],
    evaluation: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
) -> None:
    """Measures the base generator against its own images."""
    _evaluate(settings, "evaluate_base", images, checkpoint, None, evaluation, metrics, report)


@step("Measure the fine-tuned generator", {"evaluate": ALL, "registry": EXPERIMENT}, computes=True, reusable=True)
def evaluate_finetuned(
    settings: dict[str, Any],
    images: Input[Dataset],
    checkpoint: Input[Model],
    baseline: Input[Model],
    evaluation: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
) -> None:
    """Measures the fine-tuned generator, and the base generator beside it, against the target images."""
    _evaluate(settings, "evaluate_finetuned", images, checkpoint, baseline, evaluation, metrics, report)


def _evaluate(
    settings: dict[str, Any],
    name: str,
    images: Input[Dataset],
    checkpoint: Input[Model],
    baseline: Input[Model] | None,
    evaluation: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
) -> None:
    from components.evaluate import REPORT, evaluate

    measured = evaluate(
        settings["evaluate"],
        settings["registry"]["experiment"],
        Path(checkpoint.path),
        Path(images.path),
        Path(evaluation.path),
        _cache(),
        baseline=Path(baseline.path) if baseline else None,
        step=name,
    )
    for metric, value in form.flat(measured):
        metrics.log_metric(metric, value)
    shutil.copyfile(Path(evaluation.path) / REPORT, report.path)


@step("Register both generators", {"registry": ALL})
def register(
    settings: dict[str, Any],
    base: Input[Model],
    base_evaluation: Input[Artifact],
    finetuned: Input[Model],
    finetuned_evaluation: Input[Artifact],
    registration: Output[Artifact],
    summary: Output[Markdown],
) -> None:
    """Registers both generators in MLflow."""
    from components.register import Candidate, markdown, register

    lines = register(
        settings["registry"],
        Candidate(Path(base.path), Path(base_evaluation.path)),
        Candidate(Path(finetuned.path), Path(finetuned_evaluation.path)),
        Path(registration.path),
    )
    atomic_write(Path(summary.path), markdown(lines))
