"""Registers the base and the fine-tuned generator in MLflow, with their numbers and ancestry; --show prints the table of them.

A version gets the alias "challenger", and "champion" where its name has none yet. Weights that are registered already make no
second version. MLflow is the one of MLFLOW_TRACKING_URI, or mlflow.db in this folder; unlike in other steps it must answer.

example:
  python -m components.register --base models/base --base-evaluation evaluations/base --finetuned models/finetuned \\
      --finetuned-evaluation evaluations/finetuned --output registration
  python -m components.register --show registration       # the table again, registering nothing

what the paths hold:
  --base, --finetuned                        checkpoints (components.train, components.finetune)
  --base-evaluation, --finetuned-evaluation  what components.evaluate wrote about them
  --output                                   registration.json (versions, aliases, numbers with identities), summary.json (the
                                             table), and the model cards base.md and finetuned.md
"""

from __future__ import annotations

import json
import webbrowser
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import fill

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from atelier.data.manifest import load_manifest
from atelier.errors import AtelierError
from atelier.files import atomic_folder, atomic_write, canonical_json
from atelier.metrics.evaluate import Evaluation, read_evaluation
from atelier.metrics.identity import Measurement
from atelier.registry.register import Registration, write_summary
from atelier.registry.register import register as register_generator
from atelier.registry.tracking import step_run
from atelier.report.card import model_card
from atelier.report.facts import metric_title, text
from atelier.settings import RegistrySettings
from components import cli
from components.evaluate import BASELINE, BASELINE_NAME, EVALUATION, REPORT

SUMMARY = "summary.json"
TITLE_WIDTH, VALUE_WIDTH = 22, 16  # so that three columns fit on 80 characters
IMAGES = {"base": "base images", "finetuned": "target images"}


class RegistrationError(AtelierError):
    """There is no registration to show."""


@dataclass(frozen=True)
class Candidate:
    """A generator to register: its checkpoint folder and its evaluation folder."""

    checkpoint: Path
    evaluation: Path

    @property
    def measured(self) -> Evaluation:
        """Its numbers. Raises MetricError."""
        return read_evaluation(self.evaluation / EVALUATION)

    @property
    def baseline(self) -> Evaluation | None:
        """The base generator's numbers on the same images, where those were asked for. Raises MetricError."""
        file = self.evaluation / BASELINE
        return read_evaluation(file) if file.is_file() else None


@dataclass(frozen=True)
class Line:
    """A column of the final table: a generator on some images.

    `values` are pairs of a metric's title, with its extractor and direction, and its value.
    """

    generator: str
    registered: str
    aliases: str
    measured_on: str
    values: list[list[str]]
    report: str


def register(settings: RegistrySettings, base: Candidate, finetuned: Candidate, output: Path) -> list[Line]:
    """Registers both generators under the names of `settings`, writes the folder `output`, and returns the final table.

    Raises TrackingError when MLflow cannot be used, GeneratorError and MetricError for folders that lack something.
    """
    lines: list[Line] = []
    registrations: list[Registration] = []
    parameters = {"registry": settings.model_dump(mode="json")}
    with step_run("register", settings.experiment, parameters, required=True) as run:
        with atomic_folder(output) as folder:
            for role, candidate in (("base", base), ("finetuned", finetuned)):
                name = getattr(settings, role)
                manifest, baseline = load_manifest(candidate.evaluation), candidate.baseline
                card = model_card(candidate.checkpoint, candidate.measured, manifest, name, baseline, BASELINE_NAME)
                registrations.append(register_generator(run, name, candidate.checkpoint, candidate.measured.measurements, card))
                images = f"{IMAGES[role]} ({manifest.source['kind']})"
                measured = [(registrations[0], baseline), (registrations[-1], candidate.measured)]
                lines += [_line(one, numbers, images, candidate) for one, numbers in measured if numbers]
                atomic_write(folder / f"{role}.md", card)
            write_summary(folder / "registration.json", registrations)
            atomic_write(folder / SUMMARY, canonical_json([asdict(line) for line in lines]))
        run.log_file(output)
    return lines


def _line(registration: Registration, numbers: Evaluation, images: str, candidate: Candidate) -> Line:
    return Line(
        generator=registration.name,
        registered=f"version {registration.version}",
        aliases=", ".join(registration.aliases),
        measured_on=images,
        values=[[_title(one), text(one)] for one in numbers.measurements],
        report=str(candidate.evaluation / REPORT),
    )


def _title(one: Measurement) -> str:
    return f"{metric_title(one.name)} {'↑' if one.higher_is_better else '↓'}"


def read_lines(folder: Path) -> list[Line]:
    """The table that `register` wrote into this folder. Raises RegistrationError."""
    try:
        return [Line(**line) for line in json.loads((folder / SUMMARY).read_text(encoding="utf-8"))]
    except OSError as error:
        raise RegistrationError(f"{folder}: nothing was registered yet ({SUMMARY} is missing); run `dvc repro`") from error
    except (TypeError, ValueError) as error:
        raise RegistrationError(f"{folder / SUMMARY}: damaged ({error}); run `dvc repro --force register`") from error


def show(lines: list[Line], console: Console) -> None:
    """Prints the table, one column for each measured generator, and where the reports are."""
    table = Table(title="Registered generators", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("generator", overflow="fold")
    for line in lines:
        head = f"{line.generator}\n{fill(f'on {line.measured_on}', VALUE_WIDTH)}"
        table.add_column(head, justify="right", overflow="fold")
    table.add_row("registered", *(line.registered for line in lines))
    table.add_row("alias", *(fill(line.aliases, VALUE_WIDTH) for line in lines), end_section=True)
    for title in _titles(lines):
        table.add_row(fill(title, TITLE_WIDTH), *(dict(line.values).get(title, "") for line in lines))
    console.print(table)
    for report in dict.fromkeys(line.report for line in lines):
        console.print(f"report: {report}", highlight=False, soft_wrap=True)


def markdown(lines: list[Line]) -> str:
    """The table in Markdown."""
    heads = [f"{line.generator} on {line.measured_on}" for line in lines]
    rows = [["registered", *(line.registered for line in lines)], ["alias", *(line.aliases for line in lines)]]
    rows += [[title, *(dict(line.values).get(title, "") for line in lines)] for title in _titles(lines)]
    body = [["generator", *heads], ["---"] * (len(lines) + 1), *rows]
    return "# Registered generators\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in body)


def _titles(lines: list[Line]) -> list[str]:
    return list(dict.fromkeys(title for line in lines for title, _ in line.values))


def main() -> None:
    """The command line."""
    parser = cli.parser("register", __doc__)
    for name in ("base", "finetuned"):
        parser.add_argument(f"--{name}", type=Path, metavar="FOLDER", help="its checkpoint")
        parser.add_argument(f"--{name}-evaluation", type=Path, metavar="FOLDER", help="its evaluation")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where versions, cards and table go")
    parser.add_argument("--show", type=Path, metavar="FOLDER", help="only print the table of this folder")
    parser.add_argument("--open", action="store_true", help="with --show: open the reports in a browser, too")
    args = parser.parse_args()
    if args.show:
        lines = read_lines(args.show)
        show(lines, Console())
        for report in dict.fromkeys(line.report for line in lines) if args.open else ():
            webbrowser.open(Path(report).resolve().as_uri())
        return
    needed = {f"--{name.replace('_', '-')}": getattr(args, name) for name in _NEEDED}
    if missing := [name for name, value in needed.items() if value is None]:
        parser.error(f"give {', '.join(missing)} (or --show FOLDER)")
    lines = register(
        cli.settings(args).registry,
        Candidate(args.base, args.base_evaluation),
        Candidate(args.finetuned, args.finetuned_evaluation),
        args.output,
    )
    for registered in dict.fromkeys(f"{line.generator} {line.registered} ({line.aliases})" for line in lines):
        print(registered)


_NEEDED = ("base", "base_evaluation", "finetuned", "finetuned_evaluation", "output")


if __name__ == "__main__":
    cli.run(main)
