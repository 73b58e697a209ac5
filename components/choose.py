"""Chooses the best of several generators that were trained on the same images and measured alike.

example:
  python -m components.choose --checkpoints models/0 models/1 --evaluations evaluations/0 evaluations/1 \\
      --checkpoint models/base --evaluation evaluations/base

what the paths hold:
  --checkpoints, --evaluations  generators (components.train) and what components.evaluate wrote about them, in any order
  --checkpoint, --evaluation    copies of the best one
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from atelier.errors import AtelierError
from atelier.io.files import atomic_folder, check_output, sha256_file
from atelier.metrics import acceptance
from components import cli
from components.contract import Evaluation, In, Model, Out, Page, component
from components.evaluate import EVALUATION, METRICS

# What loads PyTorch (seconds) is imported by the functions that need it: a pipeline is made of this component's contract.
if TYPE_CHECKING:
    from atelier.metrics.identity import Measurement
    from atelier.models.model import GeneratorInfo


class ChoiceError(AtelierError):
    """There is nothing to choose from, or the numbers cannot be compared."""


@dataclass(frozen=True)
class Trial:
    """A trained generator, what it was trained with, and its distance from the images; `reason` says why it is rejected."""

    checkpoint: Path
    evaluation: Path
    info: GeneratorInfo
    distance: Measurement
    reason: str


def trials(checkpoints: Sequence[Path], evaluations: Sequence[Path]) -> list[Trial]:
    """Each generator with its evaluation, the best first. Raises ChoiceError unless all were measured with the same identity."""
    from atelier.metrics.evaluator import read_evaluation
    from atelier.models.model import WEIGHTS, read_info

    measured = {found.generator: (folder, found) for folder in evaluations for found in [read_evaluation(folder / EVALUATION)]}
    result: list[Trial] = []
    for checkpoint in checkpoints:
        sha256 = sha256_file(checkpoint / WEIGHTS)
        if sha256 not in measured:
            raise ChoiceError(f"{checkpoint}: none of {len(evaluations)} evaluations is of this generator; evaluate it")
        folder, found = measured[sha256]
        distance = acceptance.distance(found)
        if distance is None:
            raise ChoiceError(f"{folder}: holds no Fréchet distance to choose by; put frechet into evaluate.metrics")
        result.append(Trial(checkpoint, folder, read_info(checkpoint), distance, acceptance.read(folder)))
    if not result:
        raise ChoiceError("there is no trial to choose from")
    if len({str(trial.distance.identity) for trial in result}) > 1:
        raise ChoiceError("the trials were measured in different ways (extractor, images, count or seed), so none is the best")
    return sorted(result, key=lambda trial: (bool(trial.reason), trial.distance.value))


def keep(best: Trial, checkpoint: Path, evaluation: Path) -> None:
    """Copies the folders of a trial into two new ones."""
    from atelier.models.model import INFO

    copies = ((best.checkpoint, checkpoint, INFO), (best.evaluation, evaluation, METRICS))
    for _, target, marker in copies:
        check_output(target, marker)
    for source, target, marker in copies:
        with atomic_folder(target, marker) as folder:
            shutil.copytree(source, folder, dirs_exist_ok=True)


def markdown(found: Sequence[Trial]) -> str:
    """The trials as a table, best first, with the settings in which they differ."""
    settings = [{**_flat(one.info.model, "model."), **_flat(one.info.settings, "train.")} for one in found]
    keys = sorted({key for each in settings for key in each})
    differing = [key for key in keys if len({str(each.get(key)) for each in settings}) > 1]
    head = ["rank", *differing, found[0].distance.name, "accepted"]
    rows = [
        [str(rank), *(str(each.get(key, "")) for key in differing), f"{one.distance.value:.4g}", one.reason or "yes"]
        for rank, (one, each) in enumerate(zip(found, settings, strict=True), start=1)
    ]
    return "# Trials\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows])


def _flat(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


@component({}, reusable=True, pages={"summary": Page("Markdown", lambda found, _: markdown(found))}, reason=acceptance.read)
def choose(
    checkpoints: Annotated[list[In[Model]], "the generators"],
    evaluations: Annotated[list[In[Evaluation]], "their evaluations"],
    checkpoint: Annotated[Out[Model], "where the best generator goes"],
    evaluation: Annotated[Out[Evaluation], "where its evaluation goes"],
) -> list[Trial]:
    """Copies the best generator and its evaluation into new folders; returns all trials, as `trials`. Raises ChoiceError."""
    found = trials(checkpoints, evaluations)
    keep(found[0], checkpoint, evaluation)
    return found


def main() -> None:
    """The command line."""
    found = cli.call(choose, cli.parser(choose, __doc__).parse_args())
    print(markdown(found))


if __name__ == "__main__":
    cli.run(main)
