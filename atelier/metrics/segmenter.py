"""A small segmenter, fitted on real pictures and their label maps, reads generated ones: is each class where the map has it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from atelier.data.packed import PackedDataset
from atelier.extractors.passes import in_chunks
from atelier.metrics.fitting import descend, fitted, normalized, shift
from atelier.metrics.identity import MetricError
from atelier.tasks.sampling import Sample

IMAGES = 12_000
WIDTH, LARGEST = 24, 64  # channels of the first stage; px, above which pictures are halved on entry
CHUNK = 16
IGNORED = 255
BACKGROUND = "background"


class LabeledPictures(Protocol):
    """Pictures with a label map each: a split of a packed set."""

    content_hash: str
    channels: int
    resolution: int
    map_classes: Sequence[str]

    def __len__(self) -> int: ...

    def pairs(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pictures uint8 [N, C, H, W] and maps uint8 [N, 1, H, W] of classes, 255 where a pixel does not count."""


@dataclass(frozen=True)
class Segmenter:
    """A fitted network, the names of the classes, the sha256 of its weights, and the number of pairs that it learnt from."""

    network: nn.Module
    classes: Sequence[str]
    weights_hash: str
    fitted: int

    @property
    def width(self) -> int:
        """Columns of what `read` returns: three a class of the generated picture, and as many of its target."""
        return 6 * len(self.classes)

    def read(self, sample: Sample) -> np.ndarray:
        """What it counts in the images of a sample and in their targets, against the maps that they were made from."""
        assert sample.input is not None and sample.target is not None  # the metric needs them
        sides = (sample.images, sample.target)
        return np.concatenate([counts(self.network, side, sample.input, len(self.classes)) for side in sides], axis=1)


class TrainingPairs:
    """The pictures of a packed set's training split with their label maps. Raises MetricError for a set that has no maps."""

    def __init__(self, dataset: PackedDataset) -> None:
        self.set = dataset if dataset.split == "train" else PackedDataset(dataset.folder, "train")
        maps = [name for name, field in self.set.fields.items() if field.kind == "map"]
        if len(maps) != 1:
            raise MetricError(
                f"evaluate.metrics: segmented needs records with a picture and one label map, and those of {dataset.folder} have "
                f"{len(maps)}; take segmented out, or pack with data.NAME.fields of which one is of kind map"
            )
        self.field = maps[0]
        self.content_hash, self.channels, self.resolution = self.set.content_hash, self.set.channels, self.set.resolution
        self.map_classes: Sequence[str] = self.set.fields[self.field].classes

    def __len__(self) -> int:
        return len(self.set)

    def pairs(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As LabeledPictures.pairs."""
        return self.set.images(indices), self.set.read(indices)[self.field]


def load_segmenter(pairs: LabeledPictures, cache: Path, seed: int, progress: bool = True) -> Segmenter:
    """The segmenter of these pairs, from `cache` or fitted with `seed` on one CPU core."""
    network = segmenter(pairs.channels, pairs.resolution, len(pairs.map_classes), seed)
    key = {"pairs": pairs.content_hash, "seed": seed}
    weights_hash = fitted(network, "segmenter", cache, key, lambda: _fit(network, pairs, seed, progress))
    return Segmenter(network, pairs.map_classes, weights_hash, len(pairs))


class SegmentingNet(nn.Module):
    """Pictures [N, C, side, side] -> logits [N, K, side, side]: a U-Net of three stages on 2 x 2 px at once."""

    def __init__(self, channels: int, classes: int, halvings: int) -> None:
        super().__init__()
        self.halvings, wide = halvings, 2 * WIDTH
        self.fine = _stage(4 * channels, WIDTH)
        self.middle = _stage(WIDTH, wide)
        self.coarse = _stage(wide, wide)
        self.middle_up = _stage(2 * wide, wide)
        self.fine_up = _stage(wide + WIDTH, WIDTH)
        self.classes = nn.Conv2d(WIDTH, 4 * classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        step = 2 ** (self.halvings + 1)
        images = nn.functional.pad(images, (0, -width % step, 0, -height % step), mode="replicate")
        for _ in range(self.halvings):
            images = nn.functional.avg_pool2d(images, 2)
        fine = self.fine(nn.functional.pixel_unshuffle(images, 2))
        middle = self.middle(nn.functional.max_pool2d(fine, 2, ceil_mode=True))
        coarse = self.coarse(nn.functional.max_pool2d(middle, 2, ceil_mode=True))
        middle = self.middle_up(torch.cat([middle, _enlarged(coarse, middle)], dim=1))
        fine = self.fine_up(torch.cat([fine, _enlarged(middle, fine)], dim=1))
        logits: Tensor = nn.functional.pixel_shuffle(self.classes(fine), 2)
        repeated = logits.repeat_interleave(2**self.halvings, dim=2).repeat_interleave(2**self.halvings, dim=3)
        return repeated[:, :, :height, :width]


def _stage(given: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (given, width):
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers)


def _enlarged(images: Tensor, like: Tensor) -> Tensor:
    return nn.functional.interpolate(images, size=like.shape[2:], mode="nearest")


def segmenter(channels: int, resolution: int, classes: int, seed: int) -> SegmentingNet:
    """The network with weights drawn by `seed`; pictures above 64 px are halved on entry until they are not."""
    halvings = 0
    while resolution >> halvings > LARGEST:
        halvings += 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SegmentingNet(channels, classes, halvings)
    return network.to(memory_format=torch.channels_last)


def _fit(network: nn.Module, pairs: LabeledPictures, seed: int, progress: bool) -> None:
    """Cross-entropy of the pixels that count, of pictures that are moved by up to 1/14 of their side with their maps."""

    def loss_of(rows: np.ndarray, random: np.random.Generator) -> Tensor:
        pictures, maps = (torch.from_numpy(part) for part in pairs.pairs(rows))
        moved = shift(pairs.resolution, random)
        target = moved(maps.float())[:, 0].long()
        return nn.functional.cross_entropy(network(moved(normalized(pictures))), target, ignore_index=IGNORED)

    descend(network, np.arange(len(pairs)), IMAGES, seed, loss_of, "segmenter of real pictures", progress)


def counts(network: nn.Module, pictures: np.ndarray, maps: np.ndarray, classes: int) -> np.ndarray:
    """Pixels of each class that are read where the map has it, that are read, and that the map has: float32 [N, 3 K]."""

    def counted(batch: Tensor) -> Tensor:
        images, target = batch[:, :-1], batch[:, -1].long()
        read = network(normalized(images)).argmax(dim=1)
        known = target < classes
        found = []
        for name in range(classes):
            is_read, is_there = (read == name) & known, target == name
            found += [(is_read & is_there).sum(dim=(1, 2)), is_read.sum(dim=(1, 2)), is_there.sum(dim=(1, 2))]
        return torch.stack(found, dim=1)

    return in_chunks(counted, np.concatenate([pictures, maps], axis=1), CHUNK, 3 * classes)


@dataclass(frozen=True)
class Overlap:
    """Intersection over union: the mean over the classes that the maps have, but the background, and the background's own.

    `influence` [N] is how far each picture moves the mean, N times; `background` is None where no class is called that.
    """

    mean: float
    influence: np.ndarray
    background: float | None


def overlap(found: np.ndarray, classes: Sequence[str]) -> Overlap:
    """Of what was counted [N, 3 K], over all pictures together. Raises MetricError where the maps have background alone."""
    both, read, there = found.astype(np.float64).reshape(len(found), len(classes), 3).transpose(2, 0, 1)
    union = read + there - both
    whole = np.maximum(union.sum(axis=0), 1)
    ratios, is_background = both.sum(axis=0) / whole, np.array([name.lower() == BACKGROUND for name in classes])
    counted = (there.sum(axis=0) > 0) & ~is_background
    if not counted.any():
        raise MetricError("evaluate.metrics: segmented finds no class in the label maps but background; take it out")
    influence = ((both - ratios * union) * len(found) / whole)[:, counted].mean(axis=1)
    background = float(ratios[is_background][0]) if is_background.any() else None
    return Overlap(float(ratios[counted].mean()), influence, background)


def standard_error(influence: np.ndarray) -> float | None:
    """Of a number that pictures move by `influence` / N; None of a single picture."""
    return float(influence.std(ddof=1) / len(influence) ** 0.5) if len(influence) > 1 else None
