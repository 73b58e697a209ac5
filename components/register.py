"""Registers a generator in MLflow and decides whether it becomes champion; --show prints the table of those of a project.

The gate compares with the champion of the same name by the section gate of params.yaml: a version that beats it gets the alias
"champion" (and the old one "previous"), one that does not "challenger". A champion that was measured otherwise is measured again,
on the images given here. A generator that is registered already makes no second version. MLflow is the one of
MLFLOW_TRACKING_URI, or mlflow.db in this folder; unlike in other steps it must answer.

example:
  python -m components.register --product base --checkpoint models/base --evaluation evaluations/base --data data/base \\
      --output registration/base
  python -m components.register --product finetuned --checkpoint models/finetuned --evaluation evaluations/finetuned \\
      --data data/target --parent registration/base --output registration/finetuned
  python -m components.register --show registration       # the table with the aliases of now, registering nothing

what the paths hold:
  --checkpoint  the generator (components.train)
  --evaluation  what components.evaluate wrote about it
  --data        the packed images that it was measured against
  --parent      the output of this command for the generator that it comes from, which stands beside it in the table
  --output      registration.json (version, decision, numbers with identities), summary.json (its part of the table), images.json
                (what DVC knows of the images), and the model card
  --cache       as of components.evaluate
"""

from __future__ import annotations

import sys
import tempfile
import webbrowser
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from atelier.config.evaluation import EvaluateSettings
from atelier.config.settings import Settings
from atelier.errors import AtelierError
from atelier.io.files import atomic_folder, atomic_write, canonical_json, check_folders, check_output, read_json, sha256_file
from atelier.registry.versions import GENERATOR_HASH, NotRegisteredError, resolve
from atelier.tracking.client import mask
from atelier.tracking.place import TrackingError, tracking_uri
from components import cli
from components.contract import CACHE, DEVICE, Dataset, In, Model, Option, Out, Page, component
from components.contract import Evaluation as Evaluated
from components.contract import Registration as Registered
from components.fetch import tracked

# What loads PyTorch (seconds) is imported by the functions that need it, so that --show does without.
if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from atelier.metrics.evaluator import Evaluation
    from atelier.registry.promotion import Measure
    from atelier.registry.register import Registration
    from atelier.tracking.step_run import StepRun

SUMMARY, IMAGES = "summary.json", "images.json"
TITLE_WIDTH, VALUE_WIDTH = 22, 16  # so that three columns fit on 80 characters
GONE = "not in the registry"
AGAIN = "`dvc repro --single-item --force` with the names of the stages that register"


class RegistrationError(AtelierError):
    """There is no registration to show, or what is to be registered does not belong together."""


@dataclass(frozen=True)
class Line:
    """A column of the final table: a generator (`sha256` of its weights) on some images, and what the gate said of it.

    `values` are pairs of a metric's title, with its extractor and direction, and its value.
    """

    generator: str
    version: int
    sha256: str
    aliases: str
    gate: str
    reason: str
    measured_on: str
    values: list[list[str]]
    report: str

    @property
    def registered(self) -> str:
        """Its version in words."""
        return f"version {self.version}"


def _summary(lines: list[Line], folder: Path) -> str:
    """The table, the decision and the model card in one page of Markdown."""
    return markdown(lines) + "".join(f"\n---\n\n{card.read_text(encoding='utf-8')}" for card in folder.glob("*.md"))


@component(reads={"settings": "*"}, computes=True, pages={"summary": Page("Markdown", _summary)})
def register(
    settings: Settings,
    checkpoint: Annotated[In[Model], "its checkpoint"],
    evaluation: Annotated[In[Evaluated], "its evaluation"],
    data: Annotated[In[Dataset], "the packed images of that evaluation"],
    output: Annotated[Out[Registered], "where version, card and table go"],
    cache: Annotated[Path, CACHE],
    product: Annotated[str, Option("which generator: a name in section products", metavar="NAME")],
    parent: Annotated[In[Registered] | None, "the registration of the generator that it comes from"] = None,
    device: Annotated[str, DEVICE] = "auto",
    step: Annotated[str, Option("name of the MLflow run (default: register)", metavar="NAME", flag="--stage")] = "register",
    inputs: Annotated[In[Dataset] | None, "the packed images that it was given there, where these are others"] = None,
    data_address: str = "",
) -> list[Line]:
    """Registers a generator under its name in `settings`, lets the gate decide, writes `output`, and returns the table.

    A champion that was measured otherwise than it is measured again as `settings.evaluate` says; all of `settings` is kept with
    the version. `data_address` is where DVC's remote keeps the images that were packed, for lack of a dvc.lock. Raises
    TrackingError when MLflow cannot be used, RegistrationError for an evaluation of another generator, GeneratorError,
    MetricError and ReportError for folders that lack something, DataError for images that were packed with another size, other
    channels or labels than `settings` say.
    """
    from atelier.data.manifest import load_manifest
    from atelier.metrics import acceptance
    from atelier.metrics.evaluator import read_evaluation
    from atelier.models.model import part_of
    from atelier.registry.ancestry import Origin, dvc_record
    from atelier.registry.promotion import judged
    from atelier.registry.register import register as register_generator
    from atelier.registry.register import write_summary
    from atelier.report.card import model_card
    from atelier.tracking.step_run import step_run
    from components.evaluate import BASELINE, BASELINE_NAME, EVALUATION
    from components.packing import packed_otherwise

    check_output(output, SUMMARY)
    check_folders(cache)
    if product not in settings.products:
        known = ", ".join(settings.products)
        raise RegistrationError(f"--product {product}: section products of params.yaml has {known}; name one of them")
    checkpoint = part_of(checkpoint, settings.products[product].part)
    measured = read_evaluation(evaluation / EVALUATION)
    _check_owner(evaluation / EVALUATION, measured, _sha256(checkpoint), checkpoint)
    beside = read_lines(parent)[-1] if parent else None
    baseline = read_evaluation(evaluation / BASELINE) if (evaluation / BASELINE).is_file() else None
    if baseline and beside and parent:
        _check_owner(evaluation / BASELINE, baseline, beside.sha256, parent)
    if reason := acceptance.read(evaluation):
        raise RegistrationError(
            f"{evaluation}: the {product} generator is rejected ({reason}), so it is not registered; train it better "
            "(its report shows how it went), or change that limit in params.yaml"
        )
    if load_manifest(data).content_hash != load_manifest(evaluation).content_hash:
        raise RegistrationError(
            f"--data {data}: other images than those of {evaluation}; give those that were measured against, or evaluate again"
        )
    images_of = settings.measured_on(product)
    if said := packed_otherwise(load_manifest(data), data, settings, images_of):
        print(said, file=sys.stderr)

    images = {load_manifest(data).content_hash: dvc_record(data) or _raw(data_address)}
    images |= read_json(parent / IMAGES) if parent else {}
    parameters, name = settings.model_dump(mode="json"), settings.products[product].name
    shown = {section: parameters[section] for section in ("registry", "products", "gate")}
    with step_run(step, settings.registry.experiment, shown, required=True) as run:
        with atomic_folder(output, SUMMARY) as folder:
            manifest = load_manifest(evaluation)
            card = model_card(checkpoint, measured, manifest, name, baseline, BASELINE_NAME)
            made = register_generator(run, name, checkpoint, measured.measurements, card, Origin(parameters, images))
            made = judged(run, made, settings.gate, _measure_again(run, data, inputs, settings.evaluate, cache, device))
            measured_on = f"{images_of} images ({manifest.source['kind']})"
            lines = [_about(beside, baseline, measured_on, evaluation)] if beside and baseline else []
            lines.append(_line(made, measured, measured_on, evaluation))
            atomic_write(folder / f"{product}.md", card)
            atomic_write(folder / IMAGES, canonical_json(images))
            write_summary(folder / "registration.json", [made])
            atomic_write(folder / SUMMARY, canonical_json([asdict(line) for line in lines]))
        run.log_file(output)
    return lines


def _measure_again(
    run: StepRun, data: Path, inputs: Path | None, measuring: EvaluateSettings, cache: Path, device: str
) -> Measure:
    """Measures a registered generator on these images and keeps the numbers with its version."""
    from atelier.metrics.evaluator import Evaluator
    from atelier.models.model import load_generator
    from atelier.registry.fetch import load_checkpoint
    from atelier.registry.register import keep_numbers
    from atelier.tasks.find import measured_sets, sampling_of
    from atelier.training.distributed import choose_device

    def measure(version: ModelVersion) -> None:
        uri = f"models:/{version.name}/{version.version}"
        print(f"{uri}, the champion, was measured in another way than the candidate; measuring it again", file=sys.stderr)
        with tempfile.TemporaryDirectory() as scratch:
            generator = load_generator(load_checkpoint(uri, Path(scratch) / "checkpoint"), choose_device(device))
            images, given = measured_sets(generator, data, inputs, measuring.samples)
            evaluator = Evaluator(images, measuring, cache, choose_device(device), given=given)
            found = evaluator.measure(generator, generator.info.classes, sampling_of(generator))
        keep_numbers(run, version, found.measurements)

    return measure


def _raw(address: str) -> dict[str, str]:
    return {"raw_md5": tracked(address).md5} if address else {}


def _sha256(checkpoint: Path) -> str:
    from atelier.models.model import WEIGHTS, GeneratorError

    if not (checkpoint / WEIGHTS).is_file():
        raise GeneratorError(f"{checkpoint / WEIGHTS}: missing; fetch the whole checkpoint (dvc pull), or train again")
    return sha256_file(checkpoint / WEIGHTS)


def _check_owner(file: Path, evaluation: Evaluation, sha256: str, owner: Path) -> None:
    """Raises RegistrationError unless the numbers of `file` are of the generator with these weights, that of `owner`."""
    if evaluation.generator != sha256:
        raise RegistrationError(
            f"{file.parent}: {file.name} holds the numbers of another generator than that of {owner}; evaluate it again "
            "(dvc repro, or components.evaluate)"
        )


def _line(registration: Registration, found: Evaluation, images: str, evaluation: Path) -> Line:
    line = Line(
        generator=registration.name,
        version=registration.version,
        sha256=registration.sha256,
        aliases=", ".join(registration.aliases),
        gate=registration.outcome,
        reason=registration.reason,
        measured_on=images,
        values=[],
        report="",
    )
    return _about(line, found, images, evaluation)


def _about(line: Line, found: Evaluation, images: str, evaluation: Path) -> Line:
    """The line of a generator with other numbers."""
    from atelier.report.facts import metric_title, numbers, text
    from components.evaluate import REPORT

    titled = [(f"{metric_title(one)} {'↑' if one.higher_is_better else '↓'}", text(one)) for one in numbers(found)]
    return replace(line, measured_on=images, values=[list(pair) for pair in titled], report=str(evaluation / REPORT))


def read_lines(folder: Path) -> list[Line]:
    """The table that `register` wrote into this folder, or into folders in it. Raises RegistrationError."""
    files = sorted(folder.glob(f"*/{SUMMARY}")) or [folder / SUMMARY]
    return [line for file in files for line in _lines(file)]


def _lines(file: Path) -> list[Line]:
    try:
        return [Line(**line) for line in read_json(file)]
    except OSError as error:
        raise RegistrationError(f"{file.parent}: nothing was registered yet ({SUMMARY} is missing); run `dvc repro`") from error
    except (TypeError, ValueError) as error:
        raise RegistrationError(f"{file}: damaged ({error}); run {AGAIN}") from error


def of_now(lines: list[Line]) -> tuple[list[Line], str]:
    """The lines with the aliases that the registry states now, and what there is to say about that ("" for nothing)."""
    try:
        present = [replace(line, aliases=_aliases(line)) for line in lines]
    except TrackingError as error:
        return lines, f"The aliases are those of the registration: {error}"
    gone = any(line.aliases == GONE for line in present)
    return present, f"MLflow at {mask(tracking_uri())} lacks what is {GONE}; {AGAIN} registers it again" if gone else ""


def _aliases(line: Line) -> str:
    """Present aliases of a version. Raises TrackingError when the registry cannot be asked."""
    try:
        version = resolve(f"models:/{line.generator}/{line.version}")
    except NotRegisteredError:
        return GONE
    return ", ".join(sorted(version.aliases)) if version.tags.get(GENERATOR_HASH) == line.sha256 else GONE


def show(lines: list[Line], console: Console) -> None:
    """Prints the table, one column for each measured generator, and where the reports are."""
    table = Table(title="Registered generators", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("generator", overflow="fold")
    for line in lines:
        head = f"{line.generator}\n{fill(f'on {line.measured_on}', VALUE_WIDTH)}"
        table.add_column(head, justify="right", overflow="fold")
    table.add_row("registered", *(line.registered for line in lines))
    table.add_row("gate", *(line.gate for line in lines))
    table.add_row("alias", *(fill(line.aliases, VALUE_WIDTH) for line in lines), end_section=True)
    for title in _titles(lines):
        table.add_row(fill(title, TITLE_WIDTH), *(dict(line.values).get(title, "") for line in lines))
    console.print(table)
    for said in said_by_gate(lines):
        console.print(said, highlight=False, soft_wrap=True)
    for report in dict.fromkeys(line.report for line in lines):
        console.print(f"report: {report}", highlight=False, soft_wrap=True)


def markdown(lines: list[Line]) -> str:
    """The table in Markdown."""
    heads = [f"{line.generator} on {line.measured_on}" for line in lines]
    rows = [["registered", *(line.registered for line in lines)], ["gate", *(line.gate for line in lines)]]
    rows += [["alias", *(line.aliases for line in lines)]]
    rows += [[title, *(dict(line.values).get(title, "") for line in lines)] for title in _titles(lines)]
    body = [["generator", *heads], ["---"] * (len(lines) + 1), *rows]
    table = "".join(f"| {' | '.join(row)} |\n" for row in body)
    return "# Registered generators\n\n" + table + "".join(f"\n- {said}" for said in said_by_gate(lines)) + "\n"


def said_by_gate(lines: list[Line]) -> list[str]:
    """What the gate decided about each generator, and why."""
    return list(dict.fromkeys(f"{line.generator} {line.registered}: {line.gate}, since {line.reason}" for line in lines))


def _titles(lines: list[Line]) -> list[str]:
    return list(dict.fromkeys(title for line in lines for title, _ in line.values))


def main() -> None:
    """The command line."""
    parser = cli.parser(register, __doc__, required=False)
    parser.add_argument(
        "--show", type=Path, metavar="FOLDER", help="only print the table of this folder, with the aliases of now"
    )
    parser.add_argument("--open", action="store_true", help="with --show: open the reports in a browser, too")
    args = parser.parse_args()
    if args.show:
        lines, remark = of_now(read_lines(args.show))
        console = Console()
        show(lines, console)
        if remark:
            console.print(remark, highlight=False, markup=False, soft_wrap=True)
        for report in dict.fromkeys(line.report for line in lines) if args.open else ():
            webbrowser.open(Path(report).resolve().as_uri())
        return
    needed = [one for one in register.arguments.values() if one.option and not one.optional and not one.option.default]
    if missing := [one.flag for one in needed if getattr(args, one.name) is None]:
        parser.error(f"give {', '.join(missing)} (or --show FOLDER)")
    lines = cli.call(register, args)
    print("\n".join(said_by_gate(lines)))


if __name__ == "__main__":
    cli.run(main)
