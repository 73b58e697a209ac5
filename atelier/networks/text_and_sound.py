"""Texts and sounds as inputs of a generator. Each may be left out, which its tensor says by being all zeros."""

from __future__ import annotations

import base64
import binascii
import io
import wave
from collections.abc import Sequence
from importlib import import_module
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor

from atelier.networks.given import Decoded, Given, Refusal, Value

LONGEST_TEXT = 1000  # characters
TONES = 440.0, 880.0  # Hz, of the sounds that show a caller what to give
RATE = 16000  # samples a second of these


class OptionalInput(Given):
    """What may be left out: float32 of `shape`, which is all zeros then."""

    kind: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of its tensor."""
        raise NotImplementedError

    @property
    def assumed(self) -> Value:
        return Value(torch.zeros(self.shape), None)

    def draw(self, count: int, rng: torch.Generator, weights: np.ndarray | None = None) -> Tensor:
        """Normal numbers, left out as often as not."""
        there = torch.rand(count, *[1] * len(self.shape), generator=rng) < 0.5
        return torch.randn(count, *self.shape, generator=rng) * there


class Text(OptionalInput):
    """The embedding of a text, float32 [size]: given as the text where `encoder` names what embeds it, or as its numbers.

    `weights` is the sha256 of the encoder's.
    """

    reader: ClassVar[str] = "atelier.extractors.texts"
    packages: ClassVar[tuple[str, ...]] = ("tokenizers", "tqdm")
    kind: Literal["text"] = "text"
    size: PositiveInt
    encoder: str = ""
    weights: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)

    def wants(self, names: Sequence[str]) -> str:
        text = f"a text of at most {LONGEST_TEXT} characters, or " if self.encoder else ""
        return f"{text}{self.size} finite numbers, its embedding"

    def read(self, value: Any, names: Sequence[str]) -> Value:
        if isinstance(value, str) and self.encoder:
            return self._embedded(value)
        try:
            embedding = torch.as_tensor(np.asarray(value, dtype=np.float32))
        except (TypeError, ValueError, OverflowError):
            embedding = torch.empty(0)
        if embedding.shape != self.shape or not embedding.isfinite().all():
            raise Refusal(self.wants(names))
        return Value(embedding, embedding.tolist())

    def example(self, names: Sequence[str]) -> list[Any]:
        if self.encoder:
            return [names[0], names[-1]] if names else ["a smiling cat", "a house"]
        return [[round(1 / (self.size + shift), 6)] * self.size for shift in (0, 1)]

    def _embedded(self, text: str) -> Value:
        if not text.strip() or len(text) > LONGEST_TEXT:
            raise Refusal(self.wants(()))
        texts = import_module(self.reader)
        try:
            (embedding,), _ = texts.embed(self.encoder, self.weights, [text])
        except texts.ExtractorError as error:
            raise Refusal(f"{self.wants(())}: {error}") from error
        return Value(torch.from_numpy(embedding), text)


class Sound(OptionalInput):
    """A log-mel spectrogram, float32 [bands, frames], of a WAV file in base64: see atelier.io.sound."""

    form: ClassVar[str] = "sound"
    reader: ClassVar[str] = "atelier.io.sound"
    kind: Literal["sound"] = "sound"
    bands: PositiveInt
    frames: PositiveInt

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.bands, self.frames)

    def wants(self, names: Sequence[str]) -> str:
        return f"a WAV file of at most {import_module(self.reader).LONGEST:g} s in base64"

    def read(self, value: Any, names: Sequence[str]) -> Value:
        spectrogram = torch.from_numpy(value.content if isinstance(value, Decoded) else self._log_mel(value))
        if spectrogram.shape != self.shape:
            raise Refusal(f"{self.wants(names)}; this model hears {self.bands} bands and {self.frames} frames")
        return Value(spectrogram, None)

    def example(self, names: Sequence[str]) -> list[Any]:
        return [_tone(hertz) for hertz in TONES]

    def _log_mel(self, value: Any) -> np.ndarray:
        sound = import_module(self.reader)
        try:
            content = base64.b64decode(value, validate=True)
        except (TypeError, ValueError, binascii.Error) as error:
            raise Refusal(self.wants(())) from error
        try:
            return np.asarray(sound.log_mel(content))
        except sound.SoundError as error:
            raise Refusal(f"{self.wants(())}; it {error}") from error


def _tone(hertz: float) -> str:
    """Half a second of a tone, as a WAV file in base64."""
    samples = (8000 * np.sin(2 * np.pi * hertz * np.arange(RATE // 2) / RATE)).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(samples.tobytes())
    return base64.b64encode(file.getvalue()).decode()
