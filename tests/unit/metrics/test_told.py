"""What is measured of generators that are told text and sound: pairs that disagree, and retrieval among texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from atelier.data.packed import PackedDataset
from atelier.losses.fusion import alike
from atelier.metrics.identity import MetricError
from atelier.metrics.retrieval import AMONG, apart, retrieved
from atelier.metrics.told import BOTH, SOUND, TEXT, ToldImages, strangers
from atelier.networks.base import Generator
from atelier.networks.fusion import AUDIO, inputs_of
from atelier.networks.inputs import Sound, Takes, Text
from atelier.networks.layers import ImageShape
from tests.support.fusion_tasks import tones_fixture

__all__ = ["tones_fixture"]


class Shown(Generator):
    """The first pixel is the text's first number, the second one the sound's, both squashed; the third one is the noise."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = ImageShape(28, 1, 0)
        self.one = torch.nn.Parameter(torch.zeros(()))

    @property
    def takes(self) -> Takes:
        return inputs_of(4, Text(size=384), Sound(bands=40, frames=64))

    def forward(self, noise: torch.Tensor, text: torch.Tensor | None = None, audio: torch.Tensor | None = None) -> torch.Tensor:
        images = torch.zeros(len(noise), 1, 28, 28)
        images[:, 0, 0, 0] = 0 if text is None else text[:, 0].tanh()
        images[:, 0, 0, 1] = 0 if audio is None else audio[:, 20, 32].tanh()
        images[:, 0, 0, 2] = noise[:, 0].tanh()
        return images


def test_images_of_one_input_alone_and_of_a_pair_that_disagrees(tones: Path) -> None:
    records = PackedDataset(tones, "test")
    images = ToldImages(Shown(), records, 20, seed=3, batch=8)
    text, sound = images.inputs["text"][:, 0].tanh(), images.inputs[AUDIO][:, 20, 32].tanh()
    labels = records.labels[images.rows]
    others = strangers(len(labels), lambda one, other: labels[one] != labels[other])

    def seen(values: torch.Tensor) -> list[int]:
        return ((values + 1) * 127.5).round().int().tolist()

    whole = images.of({TEXT, SOUND})
    assert images.subsets == {TEXT: {TEXT}, SOUND: {SOUND}, BOTH: {TEXT, SOUND}}
    assert whole[:, 0, 0, 0].tolist() == seen(text) and whole[:, 0, 0, 1].tolist() == seen(sound)
    assert images.of({TEXT})[:, 0, 0, :2].tolist() == [[one, 128] for one in seen(text)]
    assert images.of({SOUND})[:, 0, 0, :2].tolist() == [[128, one] for one in seen(sound)]
    assert images.of({TEXT, SOUND}, others)[:, 0, 0, 1].tolist() == seen(sound[others])
    for kinds in ({TEXT}, {SOUND}):
        assert np.array_equal(images.of(kinds)[:, 0, 0, 2], whole[:, 0, 0, 2]), "the noise is the same"


@pytest.mark.parametrize(("labels", "expected"), [([0, 0, 1, 2, 2], [2, 2, 3, 0, 0]), ([1, 1], None)])
def test_a_stranger_is_the_next_record_that_says_something_else(labels: list[int], expected: list[int] | None) -> None:
    values = np.array(labels)
    if expected is None:
        with pytest.raises(MetricError, match="needs records of two classes or texts"):
            strangers(2, lambda one, other: values[one] != values[other])
    else:
        assert strangers(5, lambda one, other: values[one] != values[other]).tolist() == expected


def test_texts_are_apart_unless_they_are_alike() -> None:
    texts = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    texts[20:] = texts[:20] * 3 + np.linspace(0, 1, 20, dtype=np.float32)[:, None] * texts[::-1][:20]
    same = alike(torch.from_numpy(texts), None).numpy()
    one, other = (axis.ravel() for axis in np.meshgrid(np.arange(40), np.arange(40)))
    found = apart(texts[one], texts[other])
    assert np.array_equal(found, ~same[one, other]) and 60 < (~found).sum() < 1600


def test_images_at_their_texts_are_retrieved_and_others_as_often_as_chance() -> None:
    rng = np.random.default_rng(0)
    texts = rng.standard_normal((300, 16)).astype(np.float32)
    assert retrieved(5 * texts, texts, seed=0).all()
    assert not retrieved(-texts, texts, seed=0).any()
    found = retrieved(rng.standard_normal((300, 16)).astype(np.float32), texts, seed=0)
    assert found.sum() <= 10, "1 in 100 by chance"


def test_texts_that_say_the_same_are_no_distractors() -> None:
    rng = np.random.default_rng(0)
    texts = rng.standard_normal((AMONG + 10, 8)).astype(np.float32)
    texts[:11] = texts[0]
    assert retrieved(texts, texts, seed=1).all()
    with pytest.raises(MetricError, match="needs 100 texts that differ, and one of 109 differs from 98"):
        retrieved(texts[:-1], texts[:-1], seed=1)
