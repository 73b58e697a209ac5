"""The log-mel spectrogram of recordings: its equations, written again with loops and sums, and what WAV files may hold."""

from __future__ import annotations

import io
import math
import struct

import numpy as np
import pytest
from scipy.io import wavfile

from atelier.io.sound import BANDS, FRAMES, RATE, SoundError, log_mel, of_samples


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def vowel(seconds: float, rate: int = RATE) -> np.ndarray:
    """A buzz of 120 Hz that gets louder and brighter, float64 in -1 … 1."""
    t, k = np.arange(round(seconds * rate)) / rate, np.arange(1, 40)[:, None]
    return 0.2 * ((0.3 + t / seconds) ** (1 + k / 20) * np.sin(2 * np.pi * 120 * k * t) / k).sum(axis=0)


MU_LAW = b"RIFF" + struct.pack("<I", 60) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 7, 1, 8000, 8000, 1, 8)


def mel(hertz: float) -> float:
    return 1127.0 * math.log1p(hertz / 700.0)


def defined(samples: np.ndarray) -> np.ndarray:
    """Logarithms [frames, 40] of band powers by the definition: a sum for each frame, frequency and band; not centred."""
    frequencies = [bin * 16_000 / 512 for bin in range(257)]
    corners = [mel(8_000) * number / 41 for number in range(42)]
    logs = []
    for middle in range(0, len(samples) + 1, 160):
        part = [samples[n] if 0 <= n < len(samples) else 0.0 for n in range(middle - 200, middle + 200)]
        windowed = np.array([value * math.sin(math.pi * n / 400) ** 2 for n, value in enumerate(part)])
        phases = np.exp(-2j * np.pi * np.outer(np.arange(257), np.arange(400)) / 512)
        power = np.abs(phases @ windowed) ** 2
        bands = []
        for low, top, high in zip(corners, corners[1:], corners[2:], strict=False):
            inverse = [700 * math.expm1(corner / 1127.0) for corner in (low, top, high)]
            total = 0.0
            for frequency, value in zip(frequencies, power, strict=True):
                if inverse[0] < frequency <= inverse[1]:
                    total += value * (frequency - inverse[0]) / (inverse[1] - inverse[0])
                elif inverse[1] < frequency < inverse[2]:
                    total += value * (inverse[2] - frequency) / (inverse[2] - inverse[1])
            bands.append(total)
        logs.append(bands)
    power = np.array(logs)
    return np.log(np.maximum(power, power.max() * 1e-8))


def test_a_short_recording_is_what_the_definition_says_in_the_middle_of_64_frames() -> None:
    samples = vowel(0.29)
    logs = defined(samples - samples.mean())  # 30 frames, all of them loud
    assert len(logs) == 30
    expected = np.full((FRAMES, BANDS), logs.min())
    expected[17:47] = logs
    found = of_samples(samples, RATE)
    assert found.shape == (BANDS, FRAMES) and found.dtype == np.float32
    np.testing.assert_allclose(found, (expected - expected.mean()).T, rtol=2**-10)  # half a step of float16 is 2^-11


def test_longer_speech_is_averaged_in_64_equal_spans() -> None:
    samples = vowel(1.27)
    logs = defined(samples - samples.mean())
    assert len(logs) == 2 * FRAMES
    pairs = logs.reshape(FRAMES, 2, BANDS).mean(axis=1)
    np.testing.assert_allclose(of_samples(samples, RATE), (pairs - pairs.mean()).T, rtol=2**-10, atol=1e-4)


def test_silence_around_speech_and_loudness_say_nothing() -> None:
    spoken, quiet = vowel(1.5), np.zeros(RATE)
    found = of_samples(np.concatenate([quiet, spoken, quiet[:9_000]]), RATE)
    louder = of_samples(np.concatenate([quiet[:1600], 4 * spoken]), RATE)
    assert np.abs(found - louder).mean() < 0.05 * found.std()


def test_a_tone_is_in_the_band_of_its_frequency_at_any_rate() -> None:
    band = round(mel(1000) / (mel(8000) / 41)) - 1
    for rate in (8_000, 22_050, 44_100):
        tone = np.sin(2 * np.pi * 1000 * np.arange(rate // 2) / rate)
        assert (of_samples(tone, rate)[:, 20:44].argmax(axis=0) == band).all(), rate


def test_every_kind_of_sample_and_channel_says_the_same() -> None:
    samples = vowel(0.5)
    expected = log_mel(wav(samples.astype(np.float32)))
    for scale, kind, error in ((2**15, np.int16, 0.05), (2**31, np.int32, 1e-6)):
        found = log_mel(wav((samples * scale).astype(kind)))
        assert np.abs(found - expected).mean() < error, kind
    eight = np.round(samples * 128 + 128).astype(np.uint8)
    assert np.array_equal(log_mel(wav(eight)), log_mel(wav(eight / 128 - 1)))
    both = np.stack([samples, samples], axis=1)
    assert np.array_equal(log_mel(wav(both.astype(np.float64))), expected)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"ID3\x04not a WAV", "is no WAV file of PCM or floats .*ffmpeg"),
        (b"", "is no WAV file"),
        (wav(vowel(0.5).astype(np.float32))[:200], "is no WAV file|lasts"),
        (wav(np.zeros(RATE, np.int16)), "is silent"),
        (wav(vowel(11).astype(np.float32)), "lasts 11.000 s, and 0.025 to 10 s are read"),
        (wav(vowel(0.02).astype(np.float32)), "lasts 0.020 s"),
        (wav(np.full(RATE, np.nan, np.float32)), "holds values that are no numbers"),
        (wav(vowel(0.5).astype(np.float32), 2_000), "has 2000 samples a second"),
        (bytes(2**24 + 1), "has 16777217 bytes"),
        (MU_LAW, "no WAV file"),
    ],
)  # fmt: skip
def test_what_is_no_recording_is_refused_with_a_remedy(content: bytes, said: str) -> None:
    with pytest.raises(SoundError, match=said):
        log_mel(content)
