"""Training tells its MLflow run what happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atelier.tracking.step_run import StepRun
from atelier.training.history import Observer, alarm_text

ALARM = "atelier.alarm"


class MlflowObserver(Observer):
    """Sends curves, measurements and pictures of a training run to `run`."""

    def __init__(self, run: StepRun) -> None:
        self.run = run

    def started(self, history: dict[str, Any]) -> None:
        """Sends what the history of a resumed run has and MLflow has not."""
        self.run.log_history(history["points"], history["evaluations"])

    def point(self, point: dict[str, float]) -> None:
        """A point of the curves."""
        self.run.log_history([point])

    def evaluated(self, evaluation: dict[str, Any]) -> None:
        """A measurement of the averaged generator."""
        self.run.log_history([], [evaluation])

    def alarmed(self, alarm: dict[str, Any]) -> None:
        """Sets the newest alarm as a tag of the run."""
        self.run.set_tags({ALARM: alarm_text(alarm)})

    def picture(self, path: Path, images: int) -> None:
        """A grid of the fixed latents."""
        self.run.log_picture("grid", path, images)
