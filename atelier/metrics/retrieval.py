"""Image-to-text retrieval: is an image nearest to its own text among many (R-precision, Xu et al. 2018, section 4.1)?

A small encoder of images looks, which is fitted by contrast with the texts' embeddings on real training records. Its score on
held-out real images says how far to trust it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.data.packed import PackedDataset
from atelier.data.sampler import CHOICES, words
from atelier.extractors.passes import in_chunks
from atelier.losses.fusion import ALIKE, SHORT, alike, contrast
from atelier.metrics.fitting import BATCH, descend, fitted, normalized, shift
from atelier.metrics.identity import MetricError
from atelier.tasks.sampling import Sample

AMONG = 100  # texts, the own one among them
IMAGES = 30_000
TEMPERATURE = 0.1


@dataclass(frozen=True)
class Retriever:
    """A fitted network from images to embeddings of `width` numbers, the sha256 of its weights, how many records it learnt from.

    `field` is that of a record's text.
    """

    network: nn.Module
    weights_hash: str
    fitted: int
    field: str
    width: int

    def read(self, sample: Sample) -> np.ndarray:
        """Embeddings float32 [N, width] of the images of a sample."""
        return self.embedded(sample.images)

    def embedded(self, images: np.ndarray) -> np.ndarray:
        """Embeddings float32 [N, width] of images uint8 [N, C, H, W]."""
        return in_chunks(lambda batch: self.network(normalized(batch)), images, BATCH, self.width)

    def texts(self, records: PackedDataset, rows: np.ndarray, seed: int) -> np.ndarray:
        """An embedded text float32 [N, width] of each of these records, drawn by the seed as the generator is told it."""
        return records.annotations(rows, words(seed, 0, len(rows), CHOICES))[self.field]


def load_retriever(records: PackedDataset, cache: Path, seed: int, progress: bool = True) -> Retriever:
    """The encoder for records of this set, from `cache` or fitted on its training split with `seed` on one CPU core.

    Raises MetricError where the records have no text.
    """
    learnt = records if records.split == "train" else PackedDataset(records.folder, "train")
    fields = [name for name, field in learnt.fields.items() if field.kind == "text"]
    if len(fields) != 1:
        raise MetricError(
            f"evaluate.metrics: r_precision needs records with a text, and those of {records.folder} have none; take it out"
        )
    width = learnt.annotations(np.zeros(1, np.int64))[fields[0]].shape[1]
    network = _network(learnt.channels, learnt.resolution, width, seed)
    key = {"records": learnt.content_hash, "split": learnt.split, "seed": seed}
    weights = fitted(network, "retriever", cache, key, lambda: _fit(network, learnt, fields[0], seed, progress))
    return Retriever(network, weights, len(learnt), fields[0], width)


def retrieved(embeddings: np.ndarray, texts: np.ndarray, seed: int) -> np.ndarray:
    """Whether each of N images [N, d] is nearer to its own text [N, d] than to AMONG - 1 others: bool [N].

    Nearness is the cosine; the others say something else, and are drawn from the texts by the seed. Raises MetricError where too
    few differ.
    """
    images, own = (F.normalize(torch.from_numpy(one).float(), dim=1) for one in (embeddings, texts))
    same, random = alike(own, None).numpy(), np.random.default_rng(seed)
    found = np.empty(len(images), bool)
    for number, image in enumerate(images):
        others = np.flatnonzero(~same[number])
        if len(others) < AMONG - 1:
            raise MetricError(
                f"evaluate.metrics: r_precision needs {AMONG} texts that differ, and one of {len(texts)} differs from "
                f"{len(others)}; raise evaluate.samples, or take it out"
            )
        among = own[random.choice(others, AMONG - 1, replace=False)]
        found[number] = bool(image @ own[number] > (among @ image).max())
    return found


def apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which of N pairs of texts [N, d] say something else, bool [N]: as `alike` has it."""
    cosine = (one * other).sum(axis=1) / np.maximum(np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1), SHORT)
    return np.asarray(cosine <= ALIKE)


def _network(channels: int, resolution: int, width: int, seed: int) -> nn.Module:
    """Stages of convolution, batch norm, ReLU and pooling down to at most 4 px, then the embedding."""
    layers: list[nn.Module] = []
    side, inner = resolution, 32
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        while side > 4:
            layers += [nn.Conv2d(channels, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(), nn.MaxPool2d(2)]
            channels, inner, side = inner, min(2 * inner, 128), side // 2
        layers += [nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels * side * side, width)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def _fit(network: nn.Module, records: PackedDataset, field: str, seed: int, progress: bool) -> None:
    """Contrast of the images of a batch, moved by up to 1/14 of their side, with a text of each."""

    def loss_of(rows: np.ndarray, random: np.random.Generator) -> Tensor:
        drawn = random.integers(0, 2**64, (len(rows), 4), dtype=np.uint64)
        texts = torch.from_numpy(records.annotations(rows, drawn)[field])
        images = shift(records.resolution, random)(normalized(torch.from_numpy(records.images(rows))))
        return contrast(network(images), texts, alike(texts, None), TEMPERATURE)

    descend(network, np.arange(len(records)), IMAGES, seed, loss_of, "retriever of texts", progress)
