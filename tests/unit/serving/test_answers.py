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

from atelier.io.files import sha256_file
from atelier.models.model import WEIGHTS
from atelier.models.pyfunc import ServedGenerator
from atelier.serving.app import application
from atelier.serving.follow import Champion
from atelier.serving.limits import Limits
from atelier.serving.metrics import Metrics
from tests.support.asgi import ask
from tests.support.served_process import about, pixels

URI = "models:/answers/1"


def served(current: Champion | None) -> FastAPI:
    follower: Any = SimpleNamespace(uri="models:/answers@champion", current=current, trouble="")
    return application(follower, Limits(2**16, 16, 1e9, 32), Metrics())


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
