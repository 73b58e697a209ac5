"""Texts as vectors, by the name and the hash of what embeds them: the sentence model, or a file of word vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from atelier.extractors import sentences, words
from atelier.extractors.errors import ExtractorError


def embed(encoder: str, weights: str, texts: Sequence[str]) -> tuple[np.ndarray, Counter[str]]:
    """The vectors float32 [N, D], of length 1 up to rounding, and the words that the encoder does not know, with how often.

    Raises ExtractorError where the encoder is not known here, or what it needs is missing.
    """
    if encoder == words.ENCODER:
        return words.embed_texts(weights, texts)
    if (encoder, weights) != (sentences.ENCODER, sentences.WEIGHTS_SHA256):
        raise ExtractorError(
            f"texts were embedded by {encoder} {weights:.12} in training, and this version of Atelier has {sentences.ENCODER} "
            f"{sentences.WEIGHTS_SHA256:.12}"
        )
    return sentences.embed_texts(texts), Counter()
