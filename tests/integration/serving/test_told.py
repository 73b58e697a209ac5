"""A running server of a generator of text and sound, on a machine that has no sentence model."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from atelier.extractors import sentences
from atelier.models.model import NETWORKS
from atelier.models.pyfunc import ServedGenerator
from atelier.networks.fusion import TEXT
from atelier.networks.inputs import Text
from atelier.tracking.client import client
from tests.support.annotated import wav
from tests.support.served_process import pixels, register_versions, serving, wait
from tests.support.small_fusion import SIZE, model, networks
from tests.support.small_models import written


def test_texts_are_refused_with_the_remedy_and_all_else_is_answered(
    tracking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, _ = networks()
    generator.takes[TEXT] = Text(size=SIZE, encoder=sentences.ENCODER, weights=sentences.WEIGHTS_SHA256)
    folder = tmp_path / "told"
    folder.mkdir()
    save_file({f"generator.{key}": value for key, value in generator.state_dict().items()}, folder / NETWORKS)
    register_versions("told", [written(folder, generator, model(), [])])
    client().set_registered_model_alias("told", "champion", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    sound, embedding = base64.b64encode(wav(300)).decode(), [0.1 * place for place in range(SIZE)]
    with serving(tmp_path, "told@champion") as server:
        wait(lambda: server.get("/ready").status == 200)
        refused = server.post({"text": "smiling cat", "audio": sound, "seed": 1}, accept="image/png")
        assert refused.status == 422, refused.body
        assert "12 finite numbers, its embedding" in refused.error
        assert refused.error.endswith("bring it with `python -m atelier.extractors.sentences`")
        row = {"text": embedding, "audio": sound, "seed": 1}
        answers = [server.post(one, accept="image/png") for one in (row, {"audio": sound, "seed": 1}, {"seed": 1})]
        assert [one.status for one in answers] == [200] * 3
    local = ServedGenerator(folder)
    expected = local.generate(local.read([row, {"audio": sound, "seed": 1}, {"seed": 1}]))[..., 0]
    for answer, image in zip(answers, expected, strict=True):
        assert np.abs(pixels(answer.body)[::2, ::2] - image.astype(int)).max() <= 1  # a grid of twice the size
