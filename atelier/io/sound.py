"""A recording as numbers: a WAV file -> its log-mel spectrogram, of one size and loudness whatever was recorded.

Power spectra of 25 ms, every 10 ms, in 40 triangular bands of equal width in mel (Davis and Mermelstein 1980; mel as
O'Shaughnessy 1987 has it), as natural logarithms down to 80 dB below the loudest, less their mean. Silence before and behind the
speech is cut off. Shorter speech stands in the middle of 64 frames; the frames of longer speech are averaged in 64 equal spans,
so that all of a phrase is heard.

WAV is read by scipy, which resampling needs anyway; other formats would take a decoder in C of what strangers send.

All is computed in float64 and rounded to float16 (kept as float32), so that machines whose last bits differ agree.
"""

from __future__ import annotations

import io
import math
import warnings
from functools import lru_cache

import numpy as np

NAME = "log_mel"
BANDS, FRAMES = 40, 64
RATE = 16_000  # Hz that every recording is resampled to
WINDOW, HOP, FFT = 400, 160, 512  # samples: 25 ms, 10 ms
RANGE_DB = 80.0  # between the loudest and what counts as silence
SPEECH_DB = 40.0  # below the loudest frame, what is quieter at both ends is no speech
LONGEST = 10.0  # seconds of a recording
RATES = (4_000, 192_000)  # Hz, lowest and highest
MOST_BYTES = 2**24  # of a file: 10 s of two channels in 32 bits at 192 kHz


class SoundError(ValueError):
    """A recording cannot be used; the text is the reason, with the remedy."""


def log_mel(wav: bytes) -> np.ndarray:
    """The log-mel spectrogram of a WAV file, float32 [40, 64]: bands from low to high, frames in time. Its mean is 0.

    The file holds PCM of 8 to 32 bits or floats, at 4 to 192 kHz, up to 10 s; of several channels the mean is taken. Raises
    SoundError: another format, damage, another length or rate, or silence.
    """
    return of_samples(*_samples(wav))


def of_samples(samples: np.ndarray, rate: int) -> np.ndarray:
    """`log_mel` of samples float64 [n] at `rate` Hz. Raises SoundError where all are equal."""
    from scipy.signal import resample_poly

    if not np.ptp(samples):
        raise SoundError("is silent; record it again, or take it out")
    common = math.gcd(rate, RATE)
    samples = resample_poly(samples - samples.mean(), RATE // common, rate // common)
    power = _power(samples) @ _bands().T
    loudness = 10 * np.log10(np.maximum(power.sum(axis=1), np.finfo(float).tiny))
    heard = np.flatnonzero(loudness > loudness.max() - SPEECH_DB)
    logs = np.log(np.maximum(power, power.max() * 10 ** (-RANGE_DB / 10)))
    frames = _of_one_length(logs, int(heard[0]), int(heard[-1]) + 1)
    return (frames - frames.mean()).T.astype(np.float16).astype(np.float32)


def _samples(wav: bytes) -> tuple[np.ndarray, int]:
    """The mean of a file's channels, float64 [n] in -1 … 1, and its rate in Hz."""
    from scipy.io import wavfile

    if len(wav) > MOST_BYTES:
        raise SoundError(f"has {len(wav)} bytes, more than {LONGEST:g} s of speech need; cut it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of other programs, which are not read
            rate, values = wavfile.read(io.BytesIO(wav))
    except Exception as error:  # scipy meets damage with errors of many kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SoundError(f"is no WAV file of PCM or floats ({reason}); convert it (ffmpeg -i FILE -ar 16000 NAME.wav)") from error
    if not RATES[0] <= rate <= RATES[1]:
        raise SoundError(f"has {rate} samples a second; convert it to {RATE}")
    if not WINDOW * rate <= len(values) * RATE <= LONGEST * RATE * rate:
        raise SoundError(
            f"lasts {len(values) / rate:.3f} s, and {WINDOW / RATE:g} to {LONGEST:g} s are read; cut it to what is said"
        )
    if values.dtype.kind == "f":
        samples = values.astype(np.float64)
        if not np.isfinite(samples).all():
            raise SoundError("holds values that are no numbers; record it again")
    else:  # 8 bits are stored from 0 on, all others around 0
        zero, full = (128, 128) if values.dtype == np.uint8 else (0, -float(np.iinfo(values.dtype).min))
        samples = (values.astype(np.float64) - zero) / full
    return samples.reshape(len(samples), -1).mean(axis=1), rate


def _power(samples: np.ndarray) -> np.ndarray:
    """Power spectra [frames, 257] of Hann windows, of which the first and the last reach half a window beyond the samples."""
    padded = np.pad(samples, (WINDOW // 2, WINDOW // 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    return np.abs(np.fft.rfft(windows * hann, FFT)) ** 2


@lru_cache(maxsize=1)
def _bands() -> np.ndarray:
    """Weights [40, 257] of the spectrum in each band: triangles of height 1 over 0 … 8 kHz, each between its neighbors' tops."""
    highest = 2595 * math.log10(1 + RATE / 2 / 700)
    tops = 700 * (10 ** (np.linspace(0, highest, BANDS + 2) / 2595) - 1)
    frequencies = np.arange(FFT // 2 + 1) * RATE / FFT
    rising = (frequencies - tops[:-2, None]) / (tops[1:-1] - tops[:-2])[:, None]
    falling = (tops[2:, None] - frequencies) / (tops[2:] - tops[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling))


def _of_one_length(logs: np.ndarray, first: int, end: int) -> np.ndarray:
    """The frames first … end - 1 of logs [frames, 40] as 64: in the middle of them, or averaged in 64 equal spans."""
    count = end - first
    if count <= FRAMES:
        start = first - (FRAMES - count) // 2
        around = np.pad(logs, ((FRAMES, FRAMES), (0, 0)), constant_values=logs.min())
        return around[start + FRAMES : start + 2 * FRAMES]
    sums = np.concatenate([np.zeros((1, BANDS)), np.cumsum(logs[first:end], axis=0)])
    edges = np.arange(FRAMES + 1) * count / FRAMES
    below = np.minimum(edges.astype(int), count - 1)
    reached = sums[below] + (edges - below)[:, None] * logs[first:end][below]
    return np.diff(reached, axis=0) * FRAMES / count
