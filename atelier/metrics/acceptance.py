"""Accepts or rejects a measured generator; a rejected one is neither fine-tuned nor registered."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import TYPE_CHECKING

from atelier.config.evaluation import EvaluateSettings
from atelier.io.files import atomic_write, canonical_json, read_json
from atelier.metrics.identity import Measurement, MetricError

# What loads PyTorch (seconds) is imported by the functions that need it, so that `read` does without.
if TYPE_CHECKING:
    from atelier.metrics.evaluator import Evaluation

FILE, FILE_BEFORE = "acceptance.json", "verdict.json"  # the second until November 2026


def distance(evaluation: Evaluation) -> Measurement | None:
    """The Fréchet distance (lower is better), None where it was not measured."""
    from atelier.metrics.bias import FRECHET

    return evaluation.of_kind(FRECHET)


def reason(evaluation: Evaluation, settings: EvaluateSettings) -> str:
    """Why the limits of `settings` reject the generator; "" where they accept it."""
    from atelier.metrics.bias import of_real

    frechet = distance(evaluation)
    if frechet and frechet.value > settings.max_distance:
        beside = of_real(frechet, {one.name: one for one in evaluation.measurements})
        why = f"{frechet.name} is {frechet.value:.4g}, above evaluate.max_distance = {settings.max_distance:g}"
        return f"{why}; {beside}" if beside else why
    shares = evaluation.class_shares
    rarest = min(shares, key=shares.__getitem__, default="")
    if rarest and shares[rarest] < settings.min_class_share:
        limit = f"evaluate.min_class_share = {settings.min_class_share:.2%}"
        return f"{shares[rarest]:.2%} of the images are of class {rarest}, below {limit}"
    return ""


def write(folder: Path, reason: str) -> None:
    """Writes acceptance.json into an evaluation folder; `reason` rejects the generator, "" accepts it."""
    atomic_write(folder / FILE, canonical_json({"accepted": not reason, "reason": reason}))


def read(folder: Path) -> str:
    """The reason in an evaluation folder, "" for an accepted generator. Raises MetricError for a missing or damaged file."""
    before = not (folder / FILE).exists() and (folder / FILE_BEFORE).exists()
    file, key = (folder / FILE_BEFORE, "objection") if before else (folder / FILE, "reason")
    try:
        why = read_json(file)[key]
        if not isinstance(why, str):
            raise TypeError(f"{key} is {reprlib.repr(why)}")
        return why
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MetricError(f"{file}: cannot be read ({error}); evaluate again (dvc repro, or components.evaluate)") from error
