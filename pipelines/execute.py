"""A step as a Kubeflow task: what it reads, what it writes, and how it is run inside its container."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from atelier.config.evaluation import EvaluateSettings
from atelier.config.section import parse
from atelier.errors import AtelierError
from components import cli
from pipelines import form
from pipelines.project import SECTIONS

TRACKING = "MLFLOW_TRACKING_URI"
PIPELINE_RUN, IMAGE, STATES, CACHE = "ATELIER_PIPELINE_RUN", "ATELIER_IMAGE", "ATELIER_STATES", "ATELIER_CACHE"
ORIGIN = "the run's parameters"
SECRETS = (  # keys of the Secret that become the environment of a task
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL_S3",
    "AWS_DEFAULT_REGION",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)
SHARED_MEMORY = "2Gi"  # of /dev/shm, through which NCCL's processes talk; a container has 64 MiB


class StepError(AtelierError):
    """A task cannot run where it was placed."""


@dataclass(frozen=True)
class Step:
    """A task: its name (also the stage's in dvc.yaml), the title on its box, and what it reads of params.yaml.

    `settings` maps a section to the keys that are read, all of them when empty. `arguments` are the artifacts and values besides,
    by name, with their type's name; those in `optional` may be left out. `computes`: it runs networks, so it wants an
    accelerator, and a place for what it keeps. `packs`: it runs in the image without networks. `reusable`: its outputs depend on
    image, settings and input artifacts alone, which is what Kubeflow's cache compares. `retries`: how many attempts can help.
    """

    name: str
    title: str
    run: Callable[..., Any]
    settings: dict[str, tuple[str, ...]]
    arguments: dict[str, str]
    optional: frozenset[str]
    computes: bool
    packs: bool
    reusable: bool
    retries: int

    @property
    def keys(self) -> list[str]:
        """Every key of params.yaml that the step reads, such as train.seed."""
        return [f"{section}.{key}" for section, allowed in self.settings.items() for key in form.keys(section, allowed)]

    @property
    def decides(self) -> bool:
        """Whether it returns a truth value, for a gate."""
        return inspect.signature(self.run).return_annotation == "bool"


STEPS: dict[str, Step] = {}


def step(
    title: str,
    settings: dict[str, tuple[str, ...]],
    computes: bool = False,
    packs: bool = False,
    reusable: bool = False,
    retries: int = 3,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes a function the task of its name. Its first parameter is the settings by section, the others are its arguments."""

    def add(run: Callable[..., Any]) -> Callable[..., Any]:
        _, *others = inspect.signature(run).parameters.values()
        arguments = {other.name: str(other.annotation).removesuffix(" | None") for other in others}
        optional = frozenset(other.name for other in others if other.default is None)
        made = Step(run.__name__, title, run, settings, arguments, optional, computes, packs, reusable, retries)
        STEPS[run.__name__] = made
        return run

    return add


def execute(name: str, given: dict[str, Any]) -> Any:
    """Runs a step inside its task. An expected error is one line on stderr and the exit code of the command lines."""
    found = STEPS[name]
    cli.configure_logging()
    try:
        if not os.environ.get(TRACKING):
            raise StepError(
                f"{TRACKING} is not set, so the records of this step would vanish with its container; submit with "
                "--tracking-uri, or turn on the MLflow plugin of Kubeflow Pipelines"
            )
        return found.run(_settings(found, given), **{name: given[name] for name in found.arguments if name in given})
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


def watching(chooses_best: dict[str, Any]) -> EvaluateSettings:
    """EvaluateSettings of the keys that matter while training; the component sets the others."""
    others = {"metrics": ["frechet"], "samples": 16, "max_distance": 1.0, "min_class_share": 0.0}
    return parse({**chooses_best, **others}, EvaluateSettings, origin=ORIGIN, prefix="evaluate")
