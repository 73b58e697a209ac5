"""Registering in a real MLflow store, and what comes back out of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from atelier.models.model import load_generator, sample
from atelier.tracking.client import client
from atelier.tracking.step_run import StepRun
from tests.support.registrations import model_folder, register, run_fixture

__all__ = ["run_fixture"]


def test_a_fresh_process_paints_from_the_registry(
    run: StepRun, make_checkpoint: Callable[..., Path], tracking: Path, tmp_path: Path
) -> None:
    """With no access to this repository: the code that runs is the code that was logged."""
    checkpoint = make_checkpoint("base")
    made = register(run, "served", checkpoint)
    client().set_registered_model_alias("served", "champion", "1")
    script = (
        "import sys, mlflow, numpy, pandas\n"
        "model = mlflow.pyfunc.load_model('models:/served@champion')\n"
        "rows = pandas.DataFrame({'seed': [4, 4], 'class': ['one', 2], 'truncation': [1, 0.5]})\n"
        "numpy.save('images.npy', model.predict(rows))\n"
        "import atelier\n"
        "print(atelier.__file__)\n"
        "print('atelier.training' in sys.modules, 'atelier.data' in sys.modules)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    where, modules = done.stdout.strip().splitlines()[-2:]
    assert Path(where).is_relative_to(model_folder(made)) and modules == "False False"
    images = np.load(tmp_path / "images.npy").astype(int)
    assert images.shape == (2, 28, 28, 1)
    expected = next(sample(load_generator(checkpoint), 1, 4, labels=torch.tensor([1])))[0].transpose(1, 2, 0)
    assert np.abs(images[0] - expected).max() <= 1 and (images[0] != images[1]).any()
