"""The first task of a run: merges the form with the project's own values, validates all of it, and gives each task what it reads.

The values of the project are in its command, so the run shows at once what it differs in.
"""

from __future__ import annotations

import argparse
import inspect
import io
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import executor
from ruamel.yaml import YAML

from atelier.config.section import parse, values_of
from atelier.config.settings import as_yaml
from atelier.io.files import atomic_write
from components.contract import Component, Reading
from pipelines import form, steps
from pipelines.project import ProjectSettings
from pipelines.task import StepError, command, declared, told

PAGE = "settings"


@dataclass(frozen=True)
class Check:
    """The task for a form over the values of a `project`, whose outputs are what other tasks read.

    `handed` maps each output to the readings of those tasks (`Bound.readings`). Of a sweep at most `trials` fit into a run.
    """

    project: ProjectSettings
    handed: Mapping[str, Mapping[str, str]]
    trials: int = 0
    step: str = "check"

    @property
    def component(self) -> Component[..., Any]:
        """Its contract."""
        return steps.check

    @property
    def command(self) -> list[str]:
        """What its container runs; KFP adds the input."""
        own = self.project.model_dump(mode="json", exclude_defaults=True, exclude={"cluster": {"form"}})
        project, handed = map(_in_a_line, (own, self.handed))
        return command("pipelines.check", f"--project={project}", f"--handed={handed}", f"--trials={self.trials}")

    def function(self, given: Collection[str], types: Mapping[str, type] | None = None) -> Callable[..., Any]:
        """The task as KFP wants it: `given` are its inputs, `types` those of the form's fields."""
        annotations: dict[str, Any] = {name: (types or {}).get(name, dict) for name in given} | {PAGE: dsl.Output[dsl.Markdown]}
        files = [name for name, readings in self.handed.items() if "*" in readings.values()]
        annotations |= dict.fromkeys(files, dsl.Output[dsl.Artifact])
        returned = NamedTuple("Outputs", [(name, dict) for name in self.handed if name not in files])  # type: ignore[misc]

        def check(**arrived: Any) -> Any:
            outputs = self.execute(arrived)
            for name in files:
                atomic_write(Path(arrived[name].path), json.dumps(outputs.pop(name)))
            return returned(**outputs)

        return declared(check, annotations, returned, inspect.getdoc(steps.check.function))

    def execute(self, arrived: Mapping[str, Any]) -> dict[str, Any]:
        """The values of the outputs."""
        with told():
            fields = {key: arrived[form.parameter(key)] for key, _ in values_of(self.project) if form.parameter(key) in arrived}
            settings = form.merged(self.project.plain(), fields, arrived[form.OVERRIDES])
            self._try(settings, arrived.get(form.TRIALS, ()))
            steps.check(settings)
            text = page(settings, self.project.plain())
            outputs = {name: told_to(settings, readings) for name, readings in self.handed.items()}
        print(text.partition("\n## ")[0])
        atomic_write(Path(arrived[PAGE].path), text)
        return outputs

    def _try(self, settings: ProjectSettings, trials: Sequence[Mapping[str, Any]]) -> None:
        """Refuses trials of a sweep that the settings do not allow, or that are too many. Raises SettingsError, StepError."""
        if len(trials) > self.trials:
            raise StepError(f"{form.TRIALS}: {len(trials)} trials, and {self.trials} fit into a run of this pipeline; try fewer")
        for trial in trials:
            for section in form.TRIED:
                form.tried(section, getattr(settings, section).model_dump(mode="json"), trial)


def told_to(settings: ProjectSettings, readings: Mapping[str, str]) -> dict[str, Any]:
    """What tasks with these readings are told of the settings, by their parameters."""
    return {name: _read(settings, text) for name, text in readings.items()}


def _read(settings: ProjectSettings, text: str) -> Any:
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


def _in_a_line(values: Any) -> str:
    """Values as YAML: without JSON's quotes, each of which takes four bytes in Argo's Workflow."""
    yaml, text = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style, yaml.width = True, sys.maxsize
    yaml.dump(values, text)
    return text.getvalue().strip()


def _of_a_line(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """What the container runs."""
    parser = argparse.ArgumentParser(prog="python3 -m pipelines.check", description=__doc__)
    parser.add_argument("--project", required=True, type=_of_a_line, help="values of both files that are no defaults")
    parser.add_argument("--handed", required=True, type=_of_a_line, help="outputs, with what tasks read that take them")
    parser.add_argument("--trials", required=True, type=int, help="of a sweep, at most")
    parser.add_argument("--executor_input", required=True, type=json.loads)
    args = parser.parse_args(arguments)
    check = Check(parse(args.project, ProjectSettings, origin="the project"), args.handed, args.trials)
    inputs = args.executor_input["inputs"]["parameterValues"]
    function = check.function([*inputs], {name: type(value) for name, value in inputs.items()})
    executor.Executor(executor_input=args.executor_input, function_to_execute=function).execute()


if __name__ == "__main__":
    main()
