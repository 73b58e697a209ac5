"""A walk as a file: its pictures, its labels, and what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image, ImageSequence

from atelier.models.pyfunc import ServedGenerator
from atelier.provenance.findings import look
from atelier.serving.app import application
from atelier.serving.follow import Champion
from atelier.serving.limits import Limits
from atelier.serving.metrics import Metrics
from tests.support.asgi import ask
from tests.support.small_translators import make_checkpoint as make_translator

URI = "models:/answers/1"


def served(folder: Path, limits: Limits = Limits(2**16, 16, 1e9, 32)) -> tuple[FastAPI, Champion]:  # noqa: B008 - it is frozen
    champion = Champion(URI, ServedGenerator(folder))
    follower: Any = SimpleNamespace(uri="models:/answers@champion", current=champion, trouble="")
    return application(follower, limits, Metrics()), champion


def test_a_walk_passes_its_stops_and_says_where_it_comes_from(checkpoints: list[Path]) -> None:
    app, champion = served(checkpoints[0])
    status, content = ask(app, "POST", "/walk", body=b'{"stops": [3, 4, 9], "steps": 5, "class": "one"}')
    assert status == 200
    with Image.open(io.BytesIO(content)) as file:
        assert (file.format, getattr(file, "n_frames", 1), file.info["loop"], file.size) == ("WEBP", 15, 0, (252, 252))
        pictures = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(file)]
    generator = champion.generator
    stops = generator.generate(generator.read([{"seed": seed, "class": "one"} for seed in (3, 4, 9)]))
    for place, image in enumerate(stops):
        assert np.abs(pictures[5 * place][::9, ::9].astype(int) - image).max() <= 1, "no pixel is lost"
    between = np.abs(pictures[2].astype(int) - pictures[0]).sum(), np.abs(pictures[5].astype(int) - pictures[0]).sum()
    assert 0 < between[0] < between[1]
    found = look(content, "", None)
    assert found.xmp and found.xmp["digital_source_type"] == "trainedAlgorithmicMedia" and URI in found.xmp["system"]


def test_a_walk_counts_as_what_is_saved_up_at_most(checkpoints: list[Path]) -> None:
    app, _ = served(checkpoints[0], Limits(2**16, 6, 1e-3, 32))
    body = b'{"stops": [3, 4], "steps": 9}'
    assert [ask(app, "POST", "/walk", body=body)[0] for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"stops": [3, 4], "steps": 25}', "50 pictures; a walk has at most 48"),
        (b'{"stops": [3]}', "2 to 8 seeds"),
        (b'{"stops": [1,2,3,4,5,6,7,8,9], "steps": 1}', "2 to 8 seeds"),
        (b'{"stops": [3, 4], "steps": 0}', "1 to 60"),
        (b'{"stops": [3, 4], "steps": true}', "1 to 60"),
        (b'{"stops": [3, true], "steps": 1}', "true is no seed"),
        (b'{"stops": [3, "x"], "steps": 1}', "seed is 'x'"),
        (b'{"stops": [3, 4], "steps": 1, "class": "nine"}', "class is 'nine'"),
        (b'{"stops": [3, 4], "latent": []}', "means nothing here"),
        (b"[3, 4]", "2 to 8 seeds"),
        (b"{", "not JSON"),
    ],
)
def test_what_is_no_walk_is_refused(body: bytes, said: str, checkpoints: list[Path]) -> None:
    status, content = ask(served(checkpoints[0])[0], "POST", "/walk", body=body)
    assert status == 422 and said in json.loads(content)["error"]


def test_what_takes_no_noise_has_no_walks(tmp_path: Path) -> None:
    app, _ = served(make_translator(tmp_path / "plain", "cyclegan"))
    status, content = ask(app, "POST", "/walk", body=b'{"stops": [3, 4]}')
    assert status == 422 and "takes no noise" in json.loads(content)["error"]
