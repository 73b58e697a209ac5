"""The history of a run: curves, measurements and alarms, and the observers that are told of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atelier.io.files import atomic_write
from atelier.io.progress import Progress
from atelier.training.diagnosis import remarks

log = logging.getLogger("atelier.training")


class Observer:
    """Is called with the events of a run; every method does nothing by default."""

    def started(self, history: dict[str, Any]) -> None:
        """Training begins, or goes on with the history that it has."""

    def point(self, point: dict[str, float]) -> None:
        """A point of the curves."""

    def evaluated(self, evaluation: dict[str, Any]) -> None:
        """The averaged generator was measured."""

    def alarmed(self, alarm: dict[str, Any]) -> None:
        """Divergence, collapse or non-convergence was seen: its "images", "kind", "text" and what was "done"."""

    def picture(self, path: Path, images: int) -> None:
        """A picture (PNG) of the fixed latents was written."""


class History:
    """Keeps the history of a run; the first rank passes events on to observers, the log and the progress bar.

    `values` is {"points": the curves, "evaluations": the measurements, "alarms": what went wrong and what was done, "compute":
    what it has cost, see clock.Clock}; `best` is the best evaluation by its "value".
    """

    def __init__(self, grids: Path, observers: Sequence[Observer], first: bool) -> None:
        self.grids, self.observers, self.first = grids, observers if first else (), first
        self.values: dict[str, Any] = {"points": [], "evaluations": [], "alarms": [], "compute": []}
        self.best: dict[str, Any] | None = None
        self._warned: set[str] = set()

    def restore(self, history: dict[str, Any], best: dict[str, Any] | None) -> None:
        """Goes on with what a save has; histories of older saves have fewer parts."""
        self.values, self.best = {**self.values, **history}, best

    def started(self) -> None:
        """Training begins or goes on."""
        for observer in self.observers:
            observer.started(self.values)

    def point(self, point: dict[str, float], progress: Progress) -> None:
        """A point of the curves."""
        self.values["points"].append(point)
        progress.set_postfix_str(self._in_short(point))
        for observer in self.observers:
            observer.point(point)

    def warn(self) -> None:
        """Logs the remarks that warn, once of each kind."""
        for remark in remarks(self.values["points"]) if self.first else []:
            if remark.warns and remark.about not in self._warned:
                log.warning(f"{remark.text} ({self.values['points'][-1]['images']} images)")
                self._warned.add(remark.about)

    def evaluated(self, evaluation: dict[str, Any]) -> bool:
        """A measurement; True if it is the best so far (the first of equals is)."""
        sign = -1 if evaluation.get("higher_is_better") else 1
        improved = self.best is None or sign * evaluation["value"] < sign * self.best["value"]
        if improved:
            self.best = evaluation
        self.values["evaluations"].append(evaluation)
        for observer in self.observers:
            observer.evaluated(evaluation)
        return improved

    def alarmed(self, images: int, kind: str, text: str, done: str) -> None:
        """An alarm, and what was done about it."""
        alarm = {"images": images, "kind": kind, "text": text, "done": done}
        self.values["alarms"].append(alarm)
        if self.first:
            log.warning(alarm_text(alarm))
        for observer in self.observers:
            observer.alarmed(alarm)

    def picture(self, images: int, png: bytes) -> None:
        """Keeps a preview."""
        path = self.grids / f"{images:09d}.png"
        atomic_write(path, png)
        for observer in self.observers:
            observer.picture(path, images)

    def _in_short(self, point: dict[str, float]) -> str:
        """A point for the progress bar: losses, the AUC of real and generated images, the best measurement so far."""
        losses = {name: value for name, value in point.items() if name.startswith("loss_")}
        parts = [f"{name.removeprefix('loss_')[0].upper()}={value:.3f}" for name, value in losses.items()]
        if "auc_real_fake" in point:
            parts.append(f"AUC={point['auc_real_fake']:.2f}")
        if self.best:
            parts.append(measured_text(self.best))
        return ", ".join(parts)


def alarm_text(alarm: dict[str, Any]) -> str:
    """An alarm of the history as one line."""
    return f"{alarm['kind']} at {alarm['images']} images: {alarm['text']} ({alarm['done']})"


def distance_of(evaluation: Mapping[str, Any]) -> float:
    """The Fréchet distance of a measurement, whatever its "value" is."""
    return float(evaluation.get("distance", evaluation["value"]))


def by_name(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """The number of a measurement that chooses and, where that is another one, the distance."""
    distance = {"distance": distance_of(evaluation)}
    return {evaluation["identity"]["metric"]: evaluation["value"], **distance} if "distance" in evaluation else distance


def measured_text(evaluation: Mapping[str, Any]) -> str:
    """The number of a measurement that chooses, such as "psnr 27.1"."""
    name, value = next(iter(by_name(evaluation).items()))
    return f"{name} {value:.4g}"


@dataclass(frozen=True)
class Finished:
    """A whole run: the folder of its best save, that save's evaluation, and the history of all of it."""

    best: Path
    evaluation: dict[str, Any]
    history: dict[str, Any]
