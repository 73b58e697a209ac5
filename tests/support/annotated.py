"""Pictures with captions and recordings in Parquet, and vectors of texts that need no weights."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import wavfile

from atelier.extractors import sentences


def wav(hertz: float, seconds: float = 0.3) -> bytes:
    """A tone that fades."""
    t = np.arange(round(8_000 * seconds)) / 8_000
    file = io.BytesIO()
    wavfile.write(file, 8_000, (9_000 * np.sin(2 * np.pi * hertz * t) * np.exp(-3 * t)).astype(np.int16))
    return file.getvalue()


def vectors(texts: Sequence[str]) -> np.ndarray:
    """Of each text numbers that follow from it, float32 [N, 384]."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts]
    each = [np.random.default_rng(seed).standard_normal(sentences.SIZE) for seed in seeds]
    return np.stack(each).astype(np.float16).astype(np.float32)


@pytest.fixture(name="embedded")
def embedded_fixture(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stands for the sentence model; a list of what it was asked."""
    asked: list[list[str]] = []
    monkeypatch.setattr(sentences, "bring", lambda: Path())

    def embed(texts: Sequence[str]) -> np.ndarray:
        asked.append(list(texts))
        return vectors(texts)

    monkeypatch.setattr(sentences, "embed_texts", embed)
    return asked


def write_rows(path: Path, rows: Sequence[dict[str, Any]], **kinds: Any) -> None:
    """A Parquet file of these rows, of which `kinds` says the types of columns."""
    columns = {name: pa.array([row[name] for row in rows], kinds.get(name)) for name in rows[0]}
    pq.write_table(pa.table(columns), path)
