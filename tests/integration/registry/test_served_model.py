"""The served generator: what a row may say, and that an image depends on its row alone."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from atelier.models.pyfunc import ServedGenerator
from atelier.registry.register import register
from atelier.tracking.client import client
from atelier.tracking.step_run import step_run
from tests.support.small import free_port


def test_mlflow_serves_the_champion_as_pngs(tracking: Path, make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    checkpoint = make_checkpoint("logged")
    with step_run("register", "serving tests", {}, required=True) as run:
        register(run, tmp_path.name, checkpoint, [], "A card.")
    client().set_registered_model_alias(tmp_path.name, "champion", "1")
    rows = [{"seed": 1}, {"seed": 2, "class": "two", "truncation": 0.5}]
    with mlflow_models_serve(f"models:/{tmp_path.name}@champion", tmp_path) as invoke:
        files = invoke({"dataframe_records": rows, "params": {"format": "png"}})["predictions"]
        arrays = invoke({"dataframe_records": rows})["predictions"]
        with pytest.raises(urllib.error.HTTPError) as refused:
            invoke({"dataframe_records": rows, "params": {"format": "gif"}})
        assert refused.value.code == 400 and "format is 'gif'; give array or png" in refused.value.read().decode()
    expected = ServedGenerator(checkpoint).predict(pd.DataFrame(rows))
    assert np.abs(np.array(arrays) - expected).max() <= 1
    for file, image in zip(files, expected, strict=True):
        with Image.open(io.BytesIO(base64.b64decode(file))) as shown:
            assert shown.format == "PNG"
            assert np.abs(np.asarray(shown).astype(int) - image[..., 0]).max() <= 1


@contextlib.contextmanager
def mlflow_models_serve(uri: str, folder: Path) -> Iterator[Callable[[dict[str, Any]], Any]]:
    """A function that posts to /invocations of the real `mlflow models serve`, which logs into `folder`."""
    port, log_file = free_port(), folder / "mlflow.log"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", uri, "--env-manager", "local"]
    command += ["--port", str(port), "--workers", "1"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # where it looks for uvicorn
    environment = {**os.environ, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
    with (
        log_file.open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True) as process,
    ):
        try:
            end = time.monotonic() + 180
            while not answers(port):
                assert process.poll() is None and time.monotonic() < end, log_file.read_text(encoding="utf-8")[-2000:]
                time.sleep(0.2)
            yield lambda body: post(f"http://127.0.0.1:{port}/invocations", body)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def answers(port: int) -> bool:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).status == 200
    except OSError:
        return False


def post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)
