"""Texts and sounds that callers give: read, left out, refused."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atelier.extractors import sentences
from atelier.io.sound import log_mel
from atelier.networks.inputs import Refusal, Sound, Text, draw, required
from tests.support.annotated import vectors, wav
from tests.support.small_fusion import takes

KNOWN = Text(size=384, encoder=sentences.ENCODER, weights=sentences.WEIGHTS_SHA256)
SOUND = Sound(bands=40, frames=64)


def test_a_text_is_embedded_or_given_as_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentences, "embed_texts", vectors)
    tensor, said = KNOWN.read("smiling cat", ())
    np.testing.assert_array_equal(tensor.numpy(), vectors(["smiling cat"])[0])
    assert said == "smiling cat"
    tensor, said = Text(size=3).read([1, 2.5, -3], ())
    assert tensor.tolist() == said == [1, 2.5, -3] and tensor.dtype == torch.float32


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (KNOWN, " ", "a text of at most 1000 characters, or 384 finite numbers, its embedding"),
        (KNOWN, "a" * 1001, "a text of at most 1000 characters"),
        (
            Text(size=384, encoder="words", weights="0" * 64),
            "cat",
            "384 finite numbers, its embedding: texts were embedded by words 0000.*has minilm",
        ),
        (Text(size=3), "cat", "^3 finite numbers, its embedding$"),
        (Text(size=3), [1, 2], "^3 finite numbers"),
        (Text(size=3), [1, 2, float("nan")], "^3 finite numbers"),
        (SOUND, "???", "^a WAV file of at most 10 s in base64$"),
        (SOUND, 7, "^a WAV file of at most 10 s in base64$"),
        (SOUND, base64.b64encode(b"RIFF no sound").decode(), "in base64; it is no WAV file"),
        (SOUND, base64.b64encode(wav(440, 11)).decode(), "in base64; it lasts 11.000 s, and"),
        (Sound(bands=40, frames=32), base64.b64encode(wav(440)).decode(), "this model hears 40 bands and 32 frames"),
    ],
)
def test_what_cannot_be_read_is_refused(kind: Text | Sound, value: Any, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        kind.read(value, ())


def test_without_the_sentence_model_texts_are_refused_and_embeddings_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sentences._model.cache_clear()
    with pytest.raises(
        Refusal, match=r"384 finite numbers, its embedding: .* bring it with `python -m atelier.extractors.sentences`$"
    ):
        KNOWN.read("smiling cat", ())
    assert KNOWN.read([0.5] * 384, ()).tensor.tolist() == [0.5] * 384


def test_a_sound_is_its_spectrogram() -> None:
    content = wav(440)
    np.testing.assert_array_equal(SOUND.read(base64.b64encode(content).decode(), ()).tensor.numpy(), log_mel(content))
    first, second = (SOUND.read(one, ()).tensor for one in SOUND.example(()))
    assert (first - second).abs().max() > 1, "an octave apart"


def test_nothing_has_to_be_given() -> None:
    kinds = takes()
    assert required(kinds) == {}
    assert all(not kinds[name].assumed.tensor.any() for name in ("text", "audio"))  # type: ignore[union-attr]
    drawn = draw(kinds, 200, seed=0)
    there = (drawn["audio"].flatten(1) != 0).any(1)
    assert 70 < int(there.sum()) < 130 and torch.equal(draw(kinds, 200, seed=0)["audio"], drawn["audio"])
