"""A component as a task of Kubeflow: the function that KFP sees, and how it runs inside a container.

KFP builds a component from a function's signature and ships the function's source. Ours follows from the component's contract,
so there is no source to ship: `Bound.function` carries the signature, from which `pipelines.dag` takes the interface, and the
container runs `python3 -m pipelines.task MODULE:FUNCTION`, which hands the same function to KFP's own executor.

A task takes all that its component reads of params.yaml as one value, by the component's parameters, which the task `check` has
merged and validated: each name and value of an input is in Argo's Workflow six times and more. It needs neither params.yaml nor a
repository.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import os
import pkgutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from kfp import dsl
from kfp.dsl import executor

from atelier import command_line
from atelier.config.cluster import ClusterSettings
from atelier.config.model import ModelSettings
from atelier.config.section import parse
from atelier.config.settings import Settings
from atelier.config.training import BASE, FinetuneSettings
from atelier.errors import AtelierError
from atelier.io.files import atomic_write, read_json
from components import cli
from components.contract import ORIGIN, Argument, Component, Direction
from pipelines import environment, form
from pipelines.attempts import Attempts
from pipelines.environment import CACHE, RETRIES, STATES, TASK
from pipelines.project import SECTIONS

PLACES = ("states", "cache", "mirror")  # arguments that the runner fills
CLUSTER = "cluster"
SETTINGS, METRICS, TRIAL, TASK_ID, DECISION = "settings", "metrics", "trial", "task_id", "Output"


class StepError(AtelierError):
    """A task cannot run where it was placed."""


def command(module: str, *arguments: str) -> list[str]:
    """What a container runs: a module of ours, without kfp's client."""
    return ["env", "_KFP_RUNTIME=true", "python3", "-m", module, *arguments]


def declared(function: Callable[..., Any], types: Mapping[str, Any], returned: Any, doc: str | None) -> Callable[..., Any]:
    """A function of keywords as KFP wants it: with the annotations and the signature from which it takes the interface."""
    place = inspect.Parameter.KEYWORD_ONLY
    function.__doc__ = doc
    function.__annotations__ = {**types, **({} if returned is inspect.Signature.empty else {"return": returned})}
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, place, annotation=annotation) for name, annotation in types.items()],
        return_annotation=returned,
    )
    return function


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What a task does around its work: finds MLflow first; an expected error is one line and an exit code."""
    cli.configure_logging()
    try:
        environment.settle()
        yield
    except AtelierError as error:
        command_line.tell(f"error: {error}")
        raise SystemExit(error.exit_code) from error


@dataclass(frozen=True)
class Bound:
    """A component with what is fixed of it in a task: the `section` that it reads where it has a choice, and the `step` it is."""

    component: Component[..., Any]
    step: str
    section: str = ""

    @property
    def readings(self) -> dict[str, str]:
        """What the task is given of params.yaml and cluster.yaml, as contracts state it, by the component's parameters."""
        found = {name: one.text(self.section) for name, one in self.component.readings.items()}
        # What keeps states must know where they go, and what the machines are like that it asks for.
        return found | ({CLUSTER: CLUSTER} if "states" in self.component.arguments else {})

    @property
    def reads_all(self) -> bool:
        """Whether it reads all of params.yaml, which it gets as a file."""
        return "*" in self.readings.values()

    @property
    def command(self) -> list[str]:
        """What its container runs; KFP adds the input."""
        return command("pipelines.task", self.component.reference, f"--step={self.step}", f"--section={self.section}")

    def function(self, given: Collection[str]) -> Callable[..., Any]:
        """The task as KFP wants it: a function whose annotations are KFP's. `given` are its inputs.

        Settings are one of them, but for a task that Kubeflow runs without the check's: each of its readings is a text.
        """
        types: dict[str, Any] = {SETTINGS: dsl.Input[dsl.Artifact] if self.reads_all else dict}
        if SETTINGS not in given:
            types = dict.fromkeys(self.readings, str)
        types |= {name: _input(one) for name, one in self.component.arguments.items() if name in given}
        types |= {name: _artifact(one) for one in self.component.arguments.values() for name in _numbered(one, given)}
        types |= {name: {TRIAL: dict, TASK_ID: str}[name] for name in (TRIAL, TASK_ID) if name in given}
        outputs = self.component.artifacts(Direction.OUT).values()
        types |= {one.artifact.name: dsl.Output[getattr(dsl, one.artifact.type)] for one in outputs if one.artifact}
        types |= {METRICS: dsl.Output[dsl.Metrics]} if self.component.numbers else {}
        types |= {name: dsl.Output[getattr(dsl, page.type)] for name, page in self.component.pages.items()}
        returned = bool if self.component.reason else inspect.Signature.empty

        def task(**arrived: Any) -> Any:
            return self.execute(arrived)

        task.__name__ = self.step
        return declared(task, types, returned, inspect.getdoc(self.component.function))

    def execute(self, arrived: Mapping[str, Any]) -> bool | None:
        """Runs the component; with a gate, whether its output may go further."""
        with told():
            return self._execute(arrived)

    def _execute(self, arrived: Mapping[str, Any]) -> bool | None:
        component, settings = self.component, self._settings(arrived)
        outputs = {name: one.artifact.name for name, one in component.artifacts(Direction.OUT).items() if one.artifact}
        folders = {name: Path(arrived[output].path) for name, output in outputs.items()}
        given = {name: _plain(arrived[name]) for name in component.arguments if name in arrived} | folders
        for name, one in component.arguments.items():
            if several := _numbered(one, arrived):
                given[name] = [_plain(arrived[each]) for each in several]
        given |= {"step": self.step} if "step" in component.arguments else {}
        given |= {"section": self.section} if self.section else {}
        os.environ |= {TASK: arrived[TASK_ID]} if TASK_ID in arrived else {}
        cluster = settings.pop(CLUSTER, None)
        if "model" in settings and "base" in given:
            settings["model"] = _model_of(given["base"], settings["model"], settings["settings"])
        if cluster and settings["settings"].nodes > 1:
            from pipelines.trainjob import launch

            result: Any = launch.run(self.section, settings, cluster, given["data"], given["output"], base=given.get("base"))
        else:
            environment.check_volume()
            places = {name: self._place(name, cluster) for name in PLACES if name in component.arguments}
            result = component(**settings, **given, **places)
        return self._show(arrived, result, [arrived[output] for output in outputs.values()])

    def _show(self, arrived: Mapping[str, Any], result: Any, outputs: list[dsl.Artifact]) -> bool | None:
        """Pages, metrics and facts about the outputs; with a gate, whether the last of them may go further."""
        component = self.component
        folder = Path(outputs[-1].path) if outputs else Path()
        for artifact in outputs if component.describe else ():
            assert component.describe
            artifact.metadata.update(component.describe(result))
        for name, page in component.pages.items():
            text = page.text(result, folder)
            atomic_write(Path(arrived[name].path), text)
            if page.type == "Markdown":
                print(text.partition("\n---\n")[0])  # the rest is for the page
        if component.numbers:
            numbers, notes = component.numbers(folder)
            for metric, value in numbers.items():
                arrived[METRICS].log_metric(metric, value)
            # Not at the metrics, where Kubeflow's MLflow plugin takes every entry for a number, nor at what other tasks take: the
            # metadata of an input is in Argo's Workflow six times.
            arrived[next(iter(component.pages))].metadata.update(notes)
        if not component.reason:
            return None
        reason = component.reason(folder)
        if reason:
            print(f"rejected: {reason}; the pipeline goes no further with it", file=sys.stderr)
        return not reason

    def _settings(self, arrived: Mapping[str, Any]) -> dict[str, Any]:
        """The component's parameters of params.yaml, with those of a trial in their place, and where tasks are placed."""
        values: Any = arrived.get(SETTINGS, arrived)
        values = read_json(Path(values.path)) if isinstance(values, dsl.Artifact) else values
        found: dict[str, Any] = {}
        for name, text in self.readings.items():
            value = values[name]
            section = Settings if text == "*" else SECTIONS[text.partition(".")[0]]
            value = form.natural(section, value) if isinstance(value, Mapping) else value
            if text in form.TRIED and arrived.get(TRIAL):
                value = form.tried(text, value, arrived[TRIAL])
            if name == CLUSTER:
                found[name] = parse(value, ClusterSettings, origin=ORIGIN, prefix=CLUSTER)
            else:
                found[name] = self.component.readings[name].received(value, self.section)
        return found

    def _place(self, name: str, cluster: ClusterSettings | None) -> Path | str | None:
        scratch = Path(tempfile.gettempdir())
        if name == "cache":
            return Path(os.environ.get(CACHE, scratch / "atelier-cache"))
        assert cluster  # of what keeps states
        if name == "mirror":
            return None if cluster.states == "none" else cluster.states
        if STATES not in os.environ and cluster.states == "none":
            print("cluster.states is none, so what is saved is lost with this container; name an s3:// prefix", file=sys.stderr)
        return Path(os.environ.get(STATES, scratch / "atelier-states")) / self.step


def _input(argument: Argument) -> Any:
    if not argument.artifact:
        return list if argument.many else argument.type
    artifact = getattr(dsl, argument.artifact.type)
    return dsl.Input[list[artifact]] if argument.many else _artifact(argument)  # type: ignore[valid-type]


def _artifact(argument: Argument) -> Any:
    assert argument.artifact
    return dsl.Input[getattr(dsl, argument.artifact.type)]


def _numbered(argument: Argument, given: Collection[str]) -> list[str]:
    """The names of many artifacts that come one by one, in their order."""
    names = takewhile(lambda name: name in given, map(argument.numbered, count()))
    return list(names) if argument.many else []


def _plain(value: Any) -> Any:
    """A path in place of an artifact."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return Path(value.path) if isinstance(value, dsl.Artifact) else value


def _model_of(checkpoint: Path, model: ModelSettings, settings: FinetuneSettings) -> ModelSettings:
    """The networks of a generator that is fine-tuned, which after a sweep need not be those of the run's parameters."""
    from atelier.models.model import read_info

    if settings.init_from != BASE:
        return model
    values = {**model.model_dump(mode="json"), **read_info(checkpoint).model}
    return parse(values, ModelSettings, origin=str(checkpoint), prefix="model")


def main() -> None:
    """What a container runs."""
    if retries := int(os.environ.pop(RETRIES, "0")):
        raise SystemExit(Attempts([sys.executable, "-m", __spec__.name, *sys.argv[1:]], retries).run())
    parser = argparse.ArgumentParser(prog="python3 -m pipelines.task", description="Runs a component as a task of Kubeflow.")
    parser.add_argument("component", help="MODULE:FUNCTION")
    parser.add_argument("--step", required=True)
    parser.add_argument("--section", required=True)
    parser.add_argument("--executor_input", required=True, type=json.loads)
    args = parser.parse_args()
    inputs = args.executor_input.get("inputs", {})
    given = {*inputs.get("artifacts", {}), *inputs.get("parameterValues", {})}
    bound = Bound(pkgutil.resolve_name(args.component), args.step, args.section)
    executor.Executor(executor_input=args.executor_input, function_to_execute=bound.function(given)).execute()


if __name__ == "__main__":
    main()
