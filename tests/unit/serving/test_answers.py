"""What the application answers, without a server; tests/integration has every form and every refusal, over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi import FastAPI

from atelier.detection import model
from atelier.detection.detectors import Spectrum
from atelier.io.files import sha256_file
from atelier.models.model import WEIGHTS
from atelier.models.pyfunc import ServedGenerator, picture
from atelier.provenance.leaving import labelled
from atelier.serving.app import application
from atelier.serving.detection import ServedDetector
from atelier.serving.follow import Champion
from atelier.serving.limits import Limits
from atelier.serving.metrics import Metrics
from tests.support.asgi import ask
from tests.support.detectors import GENERATED, REAL, write_detector
from tests.support.served_process import about, pixels

URI = "models:/answers/1"
LIMITS = Limits(2**16, 16, 1e9, 32)


def served(current: Champion | None, detector: ServedDetector | None = None, limits: Limits = LIMITS) -> FastAPI:
    follower: Any = SimpleNamespace(uri="models:/answers@champion", current=current, trouble="")
    return application(follower, limits, Metrics(), detector)


@pytest.fixture
def generator(checkpoints: list[Path]) -> ServedGenerator:
    return ServedGenerator(checkpoints[0])


def test_an_image_is_what_the_generator_paints_and_says_where_it_comes_from(
    generator: ServedGenerator, checkpoints: list[Path]
) -> None:
    app = served(Champion(URI, generator))
    status, file = ask(app, "GET", "/image.png", b"seed=7&class=one&truncation=0.7")
    weights = sha256_file(checkpoints[0] / WEIGHTS)
    assert status == 200 and about(file) == {"model": URI, "weights": weights, "seed": 7, "class": "one", "truncation": 0.7}
    expected = generator.predict(pd.DataFrame({"seed": [7], "class": ["one"], "truncation": [0.7]}))
    assert np.abs(pixels(file) - expected.squeeze()).max() <= 1


def test_what_cannot_be_had_is_told_in_one_line(generator: ServedGenerator) -> None:
    app = served(Champion(URI, generator))
    status, content = ask(app, "POST", "/generate", body=b'{"count": 17}')
    assert status == 422 and "16" in json.loads(content)["error"]
    assert ask(served(None), "GET", "/ready")[0] == 503 and ask(served(None), "GET", "/image.png")[0] == 503


def test_a_detector_is_asked_and_marks_stand_beside_its_score(tmp_path: Path) -> None:
    write_detector(tmp_path, Spectrum(), threshold=-1.0)
    loaded = model.load(tmp_path)
    app = served(None, ServedDetector("models:/toy/1", loaded))  # without a generator, too
    image = GENERATED[0, 3]
    status, content = ask(app, "POST", "/detect", body=labelled(picture(image.transpose(1, 2, 0)), {"model": URI}))
    told = json.loads(content)
    assert status == 200 and told["detector"] == "models:/toy/1" and told["expected"]["auc"] == 0.9
    assert told["score"] == loaded.scores(image[None])[0] and told["generated"] == (told["score"] > -1.0)
    assert told["marks"]["about"] == {"model": URI} and any("text chunk" in line for line in told["words"])
    photo = labelled(picture(REAL[0, 3].transpose(1, 2, 0)), {})
    assert json.loads(ask(app, "POST", "/detect", body=photo)[1])["score"] == loaded.scores(REAL[0, 3:4])[0]
    assert json.loads(ask(app, "GET", "/ready")[1])["detector"] == "models:/toy/1"


def test_what_a_detector_cannot_look_at_is_refused(tmp_path: Path) -> None:
    write_detector(tmp_path, Spectrum())
    app = served(None, ServedDetector("models:/toy/1", model.load(tmp_path)), Limits(2**10, 16, 1e-3, 32))
    assert ask(app, "POST", "/detect", body=bytes(2**10 + 1))[0] == 413
    status, content = ask(app, "POST", "/detect", body=b"no image")
    assert status == 422 and "no image that can be read" in json.loads(content)["error"]
    for _ in range(15):
        ask(app, "POST", "/detect", body=b"no image")
    assert ask(app, "POST", "/detect", body=b"no image")[0] == 429  # of the images for all clients, as everything else
    status, content = ask(served(None), "POST", "/detect", body=b"no image")
    assert status == 404 and "--detector" in json.loads(content)["error"]
