"""A small classifier, fitted on real images, reads generated ones: are they legible, and is every class among them?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from atelier.data.packed import PackedDataset
from atelier.extractors.passes import in_chunks
from atelier.metrics.fitting import BATCH, descend, fitted, normalized, parts, shift
from atelier.metrics.identity import MetricError
from atelier.tasks.sampling import Sample

CONFIDENT = 0.9
IMAGES = 30_000
OUTLIERS, OUTLIER_WEIGHT = 8, 0.5
CARVED = 10


@dataclass(frozen=True)
class Reading:
    """A classifier's reading of a set of images: `confident` is the share read with a probability above 0.9, `shares` the
    share of each class by its most probable one."""

    count: int
    confident: float
    shares: np.ndarray


@dataclass(frozen=True)
class Classifier:
    """A fitted network, the names of its classes, the sha256 of its weights, and what it reads in held-out real images.

    `fitted` is the number of images it learnt from; `held_out` says which images it did not see, `real` is its reading of
    those and `accuracy` the share of them that it reads as they are labelled.
    """

    network: nn.Module
    classes: list[str]
    weights_hash: str
    fitted: int
    held_out: str
    real: Reading
    accuracy: float

    @property
    def width(self) -> int:
        """Columns of what `read` returns: one a class."""
        return len(self.classes)

    def read(self, sample: Sample) -> np.ndarray:
        """Probabilities float32 [N, classes] of the images of a sample."""
        return read_by(self.network, sample.images, len(self.classes))


def load_classifier(dataset: PackedDataset, cache: Path, seed: int, progress: bool = True) -> Classifier:
    """The classifier of a labelled dataset, from `cache` or fitted with `seed` on one CPU core: equal inputs give equal weights.

    It learns from the dataset's split. Held out is the test split; where there is none, a tenth drawn with `seed`, which it
    does not learn from. Raises MetricError without labels or with a single class.
    """
    if len(dataset.classes) < 2:
        raise MetricError(
            f"evaluate.metrics: classifier needs images of at least two labelled classes and {dataset.folder} has "
            f"{len(dataset.classes)}; take classifier out, or pack with data.NAME.labels: true"
        )
    test = dataset.manifest.splits["test"].count if dataset.split == "train" else 0
    held_out = f"{test} images of the test split" if test else f"1 in {CARVED} of {dataset.split}, drawn with seed {seed}"
    key = {"images": dataset.content_hash, "split": dataset.split, "seed": seed, "held_out": held_out}
    learnt, held = learnt_and_held_out(dataset, seed)
    network = network_of(dataset.channels, dataset.resolution, len(dataset.classes), seed)
    weights_hash = fitted(
        network, "classifier", cache, key, lambda: fit(network, dataset.images, dataset.labels, learnt, seed, progress)
    )
    source, indices = held
    classes = len(dataset.classes)
    probabilities = np.concatenate([read_by(network, source.images(rows), classes) for rows in parts(indices)])
    accuracy = float((probabilities.argmax(axis=1) == source.labels[indices]).mean())
    if progress:
        print(f"classifier: {accuracy:.1%} of {len(indices)} held-out real images read as labelled", file=sys.stderr)
    return Classifier(network, dataset.classes, weights_hash, len(learnt), held_out, summarize(probabilities), accuracy)


def summarize(probabilities: np.ndarray) -> Reading:
    """Reading of probabilities [N, classes]. Raises MetricError where one is not finite, or there is none."""
    if not len(probabilities) or not np.isfinite(probabilities).all():
        raise MetricError(f"the classifier has nothing finite to read in {len(probabilities)} images")
    read = probabilities.argmax(axis=1)
    shares = np.bincount(read, minlength=probabilities.shape[1]) / len(read)
    return Reading(len(read), float((probabilities.max(axis=1) > CONFIDENT).mean()), shares)


def learnt_and_held_out(dataset: PackedDataset, seed: int) -> tuple[np.ndarray, tuple[PackedDataset, np.ndarray]]:
    """Indices to learn from; and a dataset with the indices held out: the test split, or a tenth where there is none."""
    if dataset.split == "train" and dataset.manifest.splits["test"].count:
        test = PackedDataset(dataset.folder, "test")
        return np.arange(len(dataset)), (test, np.arange(len(test)))
    order = np.random.default_rng(seed).permutation(len(dataset))
    held = max(len(order) // CARVED, 1)
    return np.sort(order[held:]), (dataset, np.sort(order[:held]))


def network_of(channels: int, resolution: int, classes: int, seed: int) -> nn.Module:
    """Stages of convolution, batch norm, ReLU and pooling down to at most 4 px; images above 32 px are halved on entry."""
    layers: list[nn.Module] = []
    side, width = resolution, 16
    while side > 32:
        layers.append(nn.AvgPool2d(2))
        side //= 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        while side > 4:
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
            channels, width, side = width, 2 * width, side // 2
        layers += [nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels * side * side, classes)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def fit(
    network: nn.Module,
    images_at: Callable[[np.ndarray], np.ndarray],
    labels: np.ndarray,
    indices: np.ndarray,
    seed: int,
    progress: bool,
) -> None:
    """Cross-entropy of images that are moved by up to 1/14 of their side, so that place is no clue.

    Each batch also has outliers, whose target is every class alike (Hendrycks et al. 2019, equation 2): without them noise
    is read with confidence.
    """

    def loss_of(rows: np.ndarray, random: np.random.Generator) -> Tensor:
        images = normalized(torch.from_numpy(images_at(rows)))
        images = shift(images.shape[3], random)(images)
        logits = network(torch.cat([images, _outliers(images[:OUTLIERS], random)]))
        loss = nn.functional.cross_entropy(logits[:BATCH], torch.from_numpy(labels[rows]))
        return loss - OUTLIER_WEIGHT * logits[BATCH:].log_softmax(dim=1).mean()

    descend(network, indices, IMAGES, seed, loss_of, "classifier of real images", progress)


def _outliers(images: Tensor, random: np.random.Generator) -> Tensor:
    """The images with their pixels shuffled; in every other one the pixels are uniform noise instead."""
    order = torch.from_numpy(random.permutation(images.shape[2] * images.shape[3]))
    shuffled = images.flatten(2)[:, :, order].reshape(images.shape)
    shuffled[::2] = torch.from_numpy(random.uniform(-1, 1, shuffled[::2].shape)).float()
    return shuffled


def read_by(network: nn.Module, images: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities float32 [N, classes] of uint8 images [N, C, H, W]."""
    return in_chunks(lambda batch: network(normalized(batch)).softmax(dim=1), images, BATCH, classes)
