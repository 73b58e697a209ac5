"""The published sentence model gives the similarities that its authors publish."""

from __future__ import annotations

import numpy as np

from atelier.extractors.sentences import bring, embed_texts


def test_similarities_are_those_of_the_authors() -> None:
    """sentence-transformers' quick start, with all-MiniLM-L6-v2 (sbert.net, to four decimals)."""
    bring()
    vectors = embed_texts(["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."])
    published = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    np.testing.assert_allclose(vectors @ vectors.T, published, atol=1e-4)
