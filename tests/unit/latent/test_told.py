"""Generators of texts and recordings in `python -m atelier.latent`: what is told takes the place of classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from atelier.extractors import sentences
from atelier.latent.__main__ import parser
from atelier.latent.space import space_of
from atelier.latent.told import told
from atelier.models.model import GeneratorError, load_generator
from atelier.networks import zoo
from atelier.networks.fusion import FusionGenerator, inputs_of
from atelier.networks.inputs import Sound, Text
from atelier.networks.layers import ImageShape
from tests.support.annotated import vectors, wav
from tests.support.small_fusion import NOISE, model, networks
from tests.support.small_models import written


@pytest.fixture(name="checkpoint")
def checkpoint_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A generator of texts, which the sentence model embeds, and recordings."""
    monkeypatch.setattr(sentences, "embed_texts", vectors)
    takes = inputs_of(
        NOISE, Text(size=384, encoder=sentences.ENCODER, weights=sentences.WEIGHTS_SHA256), Sound(bands=40, frames=64)
    )
    torch.manual_seed(0)
    generator, _ = zoo.fusing(model(), ImageShape(28, 1, 0), takes)
    with torch.no_grad():
        for parameter in generator.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.2)
    (tmp_path / "model").mkdir()
    return written(tmp_path / "model", generator, model(), [])


def loaded(checkpoint: Path) -> FusionGenerator:
    generator = load_generator(checkpoint)
    assert isinstance(generator, FusionGenerator)
    return generator


def run(*arguments: str | Path) -> None:
    args = parser().parse_args(list(map(str, arguments)))
    args.command(args)


def test_what_is_told_is_a_class(checkpoint: Path, tmp_path: Path) -> None:
    generator = loaded(checkpoint)
    (tmp_path / "a.wav").write_bytes(wav(440))
    of = told(generator, ["a cat", "a house"], [tmp_path / "a.wav"])
    assert (of.shape.classes, of.info.classes, of.latent_dim) == (3, ["a cat", "a house", "a.wav"], NOISE)
    latents, labels = torch.randn(3, NOISE, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 2, 0])
    with torch.no_grad():
        text = torch.from_numpy(vectors(["a house", "a cat"]))
        silent = torch.zeros(1, 40, 64)
        wanted = [
            generator(latents[:1], text[:1], silent),
            generator(latents[1:2], torch.zeros(1, 384), of.told["audio"][2:]),
            generator(latents[2:], text[1:], silent),
        ]
        torch.testing.assert_close(of(latents, labels), torch.cat(wanted), rtol=0, atol=5e-3)  # batches round differently
        alone = of.synthesize(of.truncate(of.code(latents, labels), labels, 0.0), labels)
        torch.testing.assert_close(alone[0], generator(torch.zeros(1, NOISE), text[:1], silent)[0], rtol=0, atol=5e-3)
    assert of.told["audio"][2].any() and not of.told["audio"][:2].any()
    assert space_of(of).name == "w", "its codes are mixed, not its noise"
    nothing = told(generator, [], [])
    with torch.no_grad():
        torch.testing.assert_close(nothing(latents), generator(latents))


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("truncate", ["--seeds", "0-1", "--psi", "0", "1"]),
        ("interpolate", ["--seeds", "3", "8", "--steps", "3"]),
        ("mix", ["--seeds", "3", "5", "--weights", "1", "2"]),
        ("mix", ["--rows", "0-1", "--columns", "5"]),
    ],
)
def test_verbs_that_show_tables(verb: str, options: list[str], checkpoint: Path, tmp_path: Path) -> None:
    pictures = []
    for said in (["--text", "a cat"], ["--text", "a house"]):
        run(verb, checkpoint, *said, *options, "--output", tmp_path / "made.png")
        with Image.open(tmp_path / "made.png") as picture:
            pictures.append(np.asarray(picture).astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() > 10


def test_children_have_fused_codes_of_what_their_parents_were_told(checkpoint: Path, tmp_path: Path) -> None:
    said = ["--text", "a cat", "a house"]
    run("breed", checkpoint, *said, "--parents", "0-5", "--count", "4", "--mutation", "0", "--output", tmp_path / "family")
    assert load_file(tmp_path / "family" / "codes.safetensors")["codes"].shape == (4, 1, 16)
    children = json.loads((tmp_path / "family" / "family.json").read_text())["children"]
    assert {child["class"] for child in children} <= {"a cat", "a house"}
    run("directions", checkpoint, *said, "--count", "2", "--output", tmp_path / "directions")
    assert len(json.loads((tmp_path / "directions" / "directions.json").read_text())["directions"]) == 2


def test_what_a_generator_does_not_take_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"MP3")
    with pytest.raises(GeneratorError, match=r"--audio a.wav: give a WAV file of at most 10 s .*it is no WAV file"):
        told(loaded(checkpoint), [], [tmp_path / "a.wav"])
    with pytest.raises(GeneratorError, match=r"--text .*: give a text of at most 1000 characters"):
        told(loaded(checkpoint), [" "], [])
    silent = networks(sound=False)[0]
    silent.info, silent.sha256 = loaded(checkpoint).info, ""
    with pytest.raises(GeneratorError, match="--audio: this generator takes text; leave it out"):
        told(silent, [], [tmp_path / "a.wav"])
