"""Balanced sets: the real images of a packed set, and a generator's beside them where classes have few."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from atelier.augmentation.counts import up_to
from atelier.data.manifest import Manifest
from atelier.data.packed import PackedDataset
from atelier.data.repack import Labelled, labelled, repack
from atelier.errors import AtelierError
from atelier.io.files import canonical_json
from atelier.models.model import sample
from atelier.networks.base import LatentGenerator

GENERATED = "generated.json"


class BalanceError(AtelierError):
    """A set that a generator cannot fill up."""


def balance(data: Path, generator: LatentGenerator, name: str, output: Path, most: int | None = None, seed: int = 0) -> Manifest:
    """Packs the set `data` again into `output`, with generated images of classes that have fewer than `most` real ones.

    `most` is by default the number of the largest class. Real images, the held-out ones among them, stay as they are; no
    generated image is held out. The manifest's source says how many are generated, and by which generator: `name` and the
    weights' sha256. generated.json beside the shards says it of every training image. Raises BalanceError, DataError, WriteError.
    """
    dataset = PackedDataset(data)
    real = labelled(dataset)
    _check(dataset, generator)
    held_out = labelled(PackedDataset(data, "test")) if dataset.manifest.splits["test"].count else None
    counts = np.bincount(real.labels, minlength=len(dataset.classes))
    most = int(counts.max()) if most is None else most
    added = up_to(counts, most)
    if not added.any():
        raise BalanceError(f"{data}: each class has {most} images or more already; give a larger number of images a class")
    made = of_classes(generator, dataset.classes, added, seed)
    keys, known = {image.tobytes() for image in made.images}, (real if held_out is None else real.and_(held_out)).images
    if fewer := len(made.labels) - len(keys - {image.tobytes() for image in known}):
        raise BalanceError(
            f"{fewer} of {len(made.labels)} generated images equal real ones, or each other, to the pixel: the generator gives "
            "training images back, or has collapsed; train it with augmentation, or for fewer images"
        )
    about: dict[str, Any] = {"generator": name, "weights": generator.sha256, "seed": seed}
    source = {
        "generated": f"{len(made.labels)} of {len(real.labels) + len(made.labels)} images for training",
        "generator": name,
        "generator_sha256": generator.sha256,
    }

    def said(packed: PackedDataset) -> dict[str, str]:
        rows = [number for number, image in enumerate(packed.images(np.arange(len(packed)))) if image.tobytes() in keys]
        by_class = np.bincount(packed.labels[rows], minlength=len(packed.classes)).tolist()
        return {GENERATED: canonical_json(about | {"of": dict(zip(packed.classes, by_class, strict=True)), "records": rows})}

    return repack(dataset, real.and_(made), held_out, output, source, said)


def of_classes(generator: LatentGenerator, classes: list[str], counts: np.ndarray, seed: int) -> Labelled:
    """Images of each class, as many as `counts` int64 [classes] says: a function of the weights, the seed and the counts.

    `classes` are names of the generator's, in another order perhaps.
    """
    own = np.array([generator.info.classes.index(name) for name in classes])
    labels = np.repeat(np.arange(len(classes)), counts)
    images = sample(generator, len(labels), seed, labels=torch.from_numpy(own[labels]))
    return Labelled(np.concatenate(list(images)), labels)


def _check(dataset: PackedDataset, generator: LatentGenerator) -> None:
    shape = generator.shape
    if not generator.info.conditional or not set(dataset.classes) <= set(generator.info.classes):
        makes = ", ".join(generator.info.classes) if generator.info.conditional else "no classes"
        raise BalanceError(
            f"{dataset.folder}: has the classes {', '.join(dataset.classes)}, and the generator makes {makes}; give one that was "
            "trained on such images with model.conditional: true"
        )
    if (shape.resolution, shape.channels) != (dataset.resolution, dataset.channels):
        raise BalanceError(
            f"{dataset.folder}: images of {dataset.resolution} px with {dataset.channels} channels, and the generator makes "
            f"{shape.resolution} px with {shape.channels}; give the images that it was trained on, or others packed like those"
        )
