"""Words that a machine speaks: eSpeak NG through its library, for the sets of recipes that learn from sound.

The library comes with PyPI's espeakng-loader, at the version of uv.lock. eSpeak NG is a program under GPL-3; what it speaks is
free.
"""

from __future__ import annotations

import ctypes
import io
from collections.abc import Callable

import numpy as np

from atelier.data.errors import DataError

RATE = 16_000  # Hz of the recordings
SEED = 1  # of breath
SYNCHRONOUS, WORDS_A_MINUTE, PITCH, UTF8 = 2, 1, 3, 1  # of speak_lib.h
# Variants of English that sound like people. Recordings of training and held-out records share none.
TRAINING_VOICES = (
    "f1", "f3", "f5", "m1", "m2", "m3", "m5", "m6", "m8", "adam", "Andrea", "antonio", "aunty", "benjamin", "boris", "caleb",
    "Denis", "Diogo", "ed", "edward", "grandma", "gustave", "Henrique", "Hugo", "iven", "Jacky", "john", "marcelo",
    "max", "michel", "miguel", "pablo", "pedro", "quincy", "robert",
)  # fmt: skip
HELD_OUT_VOICES = (
    "f2", "m4", "m7", "Annie", "belinda", "david", "Gene", "linda", "Mike", "paul", "steph", "travis",
)  # fmt: skip
Samples = ctypes.POINTER(ctypes.c_short)


class Speaker:
    """Speaks English texts. Equal calls in equal order give equal recordings, in every process.

    A voice's breath is drawn at random, from the clock unless eSpeak NG is given a seed, and goes on from the recording before.
    """

    def __init__(self) -> None:
        """Raises DataError where espeakng-loader is not installed or its library cannot start."""
        try:
            import espeakng_loader
        except ImportError as error:
            raise DataError("espeakng-loader, which speaks, is not installed; run `make setup`, or pip install it") from error
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._rate = self._library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
        if self._rate <= 0:
            raise DataError("eSpeak NG cannot start; install espeakng-loader again")
        self._parts: list[np.ndarray] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, Samples, ctypes.c_int, ctypes.c_void_p)
        self._keep: Callable[..., int] = kind(self._heard)  # which the library calls as long as it lives
        self._library.espeak_SetSynthCallback(self._keep)

    def __call__(self, text: str, voice: str, words_a_minute: int = 175, pitch: int = 50) -> bytes:
        """A WAV file, 16 bits, 16 kHz, one channel. `pitch` is from 0 to 100. Raises DataError for a voice that there is not."""
        from scipy.io import wavfile
        from scipy.signal import resample_poly

        if self._library.espeak_SetVoiceByName(f"en-us+{voice}".encode()):
            raise DataError(f"eSpeak NG has no voice {voice}; choose one of its variants")
        for parameter, value in ((WORDS_A_MINUTE, words_a_minute), (PITCH, pitch)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
        self._parts.clear()
        content = text.encode() + b"\0"
        self._library.espeak_Synth(content, ctypes.c_size_t(len(content)), 0, 0, 0, UTF8, None, None)
        self._library.espeak_Synchronize()
        if not self._parts:
            raise DataError(f"eSpeak NG says nothing of {text!r}; give a text of words")
        samples = resample_poly(np.concatenate(self._parts).astype(np.float64), RATE, self._rate)
        file = io.BytesIO()
        wavfile.write(file, RATE, np.clip(np.rint(samples), -(2**15), 2**15 - 1).astype(np.int16))
        return file.getvalue()

    def _heard(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: object) -> int:
        """Keeps a part of what is spoken; 0 says go on."""
        if samples and count > 0:
            self._parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0
