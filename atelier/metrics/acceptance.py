"""Whether a measured generator is of use at all. What is not is fine-tuned no further and is not registered."""

from __future__ import annotations

import reprlib
from pathlib import Path

from atelier.config.evaluation import EvaluateSettings
from atelier.io.files import atomic_write, canonical_json, read_json
from atelier.metrics.bias import FRECHET, of_real
from atelier.metrics.evaluator import Evaluation
from atelier.metrics.identity import Measurement, MetricError

FILE = "verdict.json"


def distance(found: Evaluation) -> Measurement | None:
    """The Fréchet distance (lower is better), where it was measured."""
    return found.of_kind(FRECHET)


def objection(found: Evaluation, settings: EvaluateSettings) -> str:
    """Why the generator is of no use, by the limits of `settings`; "" when it is."""
    one = distance(found)
    if one and one.value > settings.max_distance:
        beside = of_real(one, {each.name: each for each in found.measurements})
        return f"{one.name} is {one.value:.4g}, above evaluate.max_distance = {settings.max_distance:g}" + (
            beside and f"; {beside}"
        )
    rarest = min(found.class_shares, key=found.class_shares.__getitem__, default="")
    if rarest and found.class_shares[rarest] < settings.min_class_share:
        share = found.class_shares[rarest]
        return f"{share:.2%} of the images are of class {rarest}, below evaluate.min_class_share = {settings.min_class_share:.2%}"
    return ""


def write(folder: Path, objection: str) -> None:
    """Writes verdict.json into an evaluation folder."""
    atomic_write(folder / FILE, canonical_json({"usable": not objection, "objection": objection}))


def read(folder: Path) -> str:
    """The objection in an evaluation folder, "" when there is none. Raises MetricError where there is no verdict."""
    try:
        objection = read_json(folder / FILE)["objection"]
        if not isinstance(objection, str):
            raise TypeError(f"objection is {reprlib.repr(objection)}")
        return objection
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MetricError(
            f"{folder / FILE}: cannot be read ({error}); evaluate again (dvc repro, or components.evaluate)"
        ) from error
