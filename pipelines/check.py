"""The first task of a run: merges the form with the project's own values, validates all of it, and gives each task what it reads.

The pipeline holds the values of the project as a constant, so the run shows at once what it differs in.
"""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import executor

from atelier.config.settings import as_yaml
from atelier.io.files import atomic_write
from components.contract import Component, Reading
from pipelines import form, steps
from pipelines.project import ProjectSettings
from pipelines.task import command, declared, told

PROJECT, PAGE = "project", "settings"


@dataclass(frozen=True)
class Check:
    """The task for a form that asks for `fields`, whose other tasks read what `readings` state."""

    fields: tuple[str, ...]
    readings: tuple[str, ...]
    step: str = "check"

    @property
    def component(self) -> Component[..., Any]:
        """Its contract."""
        return steps.check

    @property
    def outputs(self) -> dict[str, type]:
        """What it gives to tasks, by the names of their inputs."""
        return {form.channel(text): form.kind(text) for text in self.readings}

    @property
    def command(self) -> list[str]:
        """What its container runs; KFP adds the input."""
        return command("pipelines.check", f"--fields={','.join(self.fields)}", f"--readings={json.dumps(self.readings)}")

    def function(self, given: Collection[str], types: Mapping[str, type] | None = None) -> Callable[..., Any]:
        """The task as KFP wants it: `given` are its inputs, `types` those of the form's fields."""
        annotations: dict[str, Any] = {name: (types or {}).get(name, dict) for name in given} | {PAGE: dsl.Output[dsl.Markdown]}
        returned = NamedTuple("Outputs", list(self.outputs.items()))  # type: ignore[misc]

        def check(**arrived: Any) -> Any:
            return returned(**self.execute(arrived))

        return declared(check, annotations, returned, inspect.getdoc(steps.check.function))

    def execute(self, arrived: Mapping[str, Any]) -> dict[str, Any]:
        """The values of the outputs."""
        with told():
            project, overrides = arrived[PROJECT], arrived[form.OVERRIDES]
            settings = form.merged(project, {key: arrived[form.parameter(key)] for key in self.fields}, overrides)
            steps.check(settings)
            text = page(settings, form.natural(ProjectSettings, project))
            outputs = {form.channel(reading): given(settings, reading) for reading in self.readings}
        print(text.partition("\n## ")[0])
        atomic_write(Path(arrived[PAGE].path), text)
        return outputs


def given(settings: ProjectSettings, text: str) -> Any:
    """The value of a reading, for the task that reads it."""
    if text == "cluster":
        # What a task with one node does not ask for would keep Kubeflow from taking it from an earlier run.
        alone = all(training.nodes == 1 for training in settings.trainings.values())
        cluster = settings.cluster.model_dump(mode="json", exclude={"form"})
        return {"states": settings.cluster.states} if alone else cluster
    return Reading.of(text).plain(settings.named(), text)


def page(settings: ProjectSettings, project: Mapping[str, Any]) -> str:
    """What the run differs in from its project, and all that it computes with, as Markdown."""
    values = settings.plain()
    changed = form.differences(values, project)
    rows = [f"| `{key}` | {json.dumps(value)} | {'not set' if own is None else json.dumps(own)} |" for key, value, own in changed]
    table = ["| key | here | in the project |", "|---|---|---|", *rows] if rows else ["All values are those of the project."]
    return "\n".join(
        ["# Settings of this run", "", *table, "", "## All of them", "", "```yaml", as_yaml(values).rstrip(), "```", ""]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """What the container runs."""
    parser = argparse.ArgumentParser(prog="python3 -m pipelines.check", description=__doc__)
    parser.add_argument("--fields", required=True, help="keys that the form asks for")
    parser.add_argument("--readings", required=True, type=json.loads, help="what other tasks read")
    parser.add_argument("--executor_input", required=True, type=json.loads)
    args = parser.parse_args(arguments)
    check = Check(tuple(filter(None, args.fields.split(","))), tuple(args.readings))
    inputs = args.executor_input["inputs"]["parameterValues"]
    function = check.function([*inputs], {name: type(value) for name, value in inputs.items()})
    executor.Executor(executor_input=args.executor_input, function_to_execute=function).execute()


if __name__ == "__main__":
    main()
