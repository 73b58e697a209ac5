"""A run that registers, and versions that it makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from atelier.metrics.identity import Measurement
from atelier.registry.register import Registration
from atelier.registry.register import register as register_generator
from atelier.tracking.client import client
from atelier.tracking.step_run import StepRun, step_run
from atelier_mlflow import place


@pytest.fixture(name="run")
def run_fixture(tracking: Path) -> Iterator[StepRun]:
    with step_run("register", "registry tests", {}, required=True) as opened:
        yield opened


def register(
    run: StepRun, name: str, checkpoint: Path, measurements: Sequence[Measurement] = (), card: str = "A card."
) -> Registration:
    return register_generator(run, name, checkpoint, measurements, card)


def model_folder(registration: Registration) -> Path:
    return place(Path("mlflow.db"), client().get_logged_model(registration.model_id).artifact_location)
