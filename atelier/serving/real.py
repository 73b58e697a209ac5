"""Real images beside generated ones: held-out images of a packed set, and what a discriminator makes of an image."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atelier.data.packed import PackedDataset
from atelier.errors import AtelierError
from atelier.latent.discriminator import load_discriminator
from atelier.models.model import read_info
from atelier.models.pyfunc import picture
from atelier.networks.base import Discriminator
from atelier.serving import requests
from atelier.serving.follow import Champion, rows_of
from atelier.serving.limits import Refused
from atelier.serving.page import seeded
from atelier.training.judge import has_discriminator, logits_of

BESIDE = 64  # real and as many generated images, by which a logit is called that of a real or of a generated one


class RealError(AtelierError):
    """What --real or --discriminator names cannot be used."""


class RealImages:
    """The held-out images of a packed set. Raises DataError."""

    def __init__(self, folder: Path) -> None:
        self.images = PackedDataset(folder, "test")

    def told(self, champion: Champion) -> dict[str, Any] | None:
        """How many there are and where they come from; None beside a version that makes no images like them from a seed."""
        gives, source = champion.generator.info.gives, self.images.manifest.source
        if (gives.resolution, gives.channels) != (self.images.resolution, self.images.channels) or not seeded(champion.generator):
            return None
        return {"count": len(self.images), "source": source.get("description", ""), "licence": source.get("licence", "")}

    def at(self, number: str) -> tuple[np.ndarray, str | None]:
        """An image, uint8 [C, H, W], with the name of its class. Raises Refused (422)."""
        if not number.isdecimal() or len(number) > 9 or int(number) >= len(self.images):
            raise Refused(422, "input", f"give a number of a real image from 0 to {len(self.images) - 1}, such as ?number=0")
        names, index = self.images.classes, int(number)
        return self.images.images(np.array([index]))[0], names[int(self.images.labels[index])] if names else None

    def png(self, number: str) -> bytes:
        """An image as a PNG, which has no label, since nothing generated it. Raises Refused (422)."""
        file = io.BytesIO()
        picture(self.at(number)[0].transpose(1, 2, 0)).save(file, "PNG")
        return file.getvalue()


@dataclass(frozen=True)
class Stage:
    """Images that stand beside the one that is judged, their labels, and the logit from which on an image looks real."""

    images: np.ndarray
    labels: Tensor | None
    threshold: float


class Judge:
    """The discriminator of a checkpoint folder, which judges images like those of a set. Raises RealError, GeneratorError."""

    def __init__(self, folder: Path, real: RealImages, device: str) -> None:
        self._real, self._info = real, read_info(folder)
        if not has_discriminator(folder):
            wanted = "give the checkpoint folder that a training wrote, since the registry gives none"
            raise RealError(f"--discriminator {folder}: no discriminator is there; {wanted}")
        shape = self._info.shape
        if (shape.resolution, shape.channels) != (real.images.resolution, real.images.channels):
            raise RealError(
                f"--discriminator {folder}: it judges images of {shape.resolution} px, and --real has others; give its set"
            )
        if shape.classes and not {*real.images.classes} <= {*self._info.classes}:
            raise RealError(f"--discriminator {folder}: its classes are not those of --real; give its set")
        self._classes = shape.classes
        self._discriminator: Discriminator = load_discriminator(folder, device)
        self._stage: tuple[str, Stage] | None = None

    def judged(self, champion: Champion, query: Mapping[str, str]) -> dict[str, Any]:
        """What it makes of the real image of ?number=, or else of the row of GET /image.png: its logit and its threshold.

        From the threshold on an image looks real to it: the middle of the median logits of real images and of the version's own.
        All stand in one batch with the image, since some families compare the images of a batch. Raises Refused (422).
        """
        if self._real.told(champion) is None:
            raise Refused(422, "input", "the version in use makes no images like those that this server's discriminator judges")
        if self._classes and champion.generator.info.classes != self._info.classes:
            raise Refused(422, "input", "the version in use has other classes than the discriminator of this server")
        if "number" in query:
            requests.known(query, ("number",), "the address")
            image, name = self._real.at(query["number"])
        else:
            (row,) = rows_of(champion, [requests.of_query(query, champion.generator.info.classes)])
            image, name = champion.generator.generate([row])[0].transpose(2, 0, 1), row.about.get("class")
        stage = self._beside(champion)
        labels = None
        if stage.labels is not None:
            labels = torch.cat([torch.tensor([self._info.classes.index(str(name))]), stage.labels])
        logit = float(logits_of(self._discriminator, np.concatenate([image[None], stage.images]), labels)[0])
        return {"logit": logit, "threshold": stage.threshold, "real": logit >= stage.threshold}

    def _beside(self, champion: Champion) -> Stage:
        weights = champion.named["weights"]
        if self._stage is None or self._stage[0] != weights:
            images = self._real.images
            chosen = np.linspace(0, len(images) - 1, min(BESIDE, len(images))).astype(int)
            rows = champion.generator.read([{"seed": seed} for seed in range(len(chosen))])
            made = champion.generator.generate(rows).transpose(0, 3, 1, 2)
            both = np.stack([images.images(chosen), made], axis=1).reshape(-1, *made.shape[1:])  # in turn, in every batch
            labels = None
            if self._info.shape.classes:
                own = [images.classes[label] for label in images.labels[chosen]]
                names = [name for pair in zip(own, (row.about["class"] for row in rows), strict=True) for name in pair]
                labels = torch.tensor([self._info.classes.index(name) for name in names])
            logits = logits_of(self._discriminator, both, labels).double().numpy()
            middle = float(np.median(logits[::2]) + np.median(logits[1::2])) / 2
            self._stage = weights, Stage(both[: BESIDE - 1], None if labels is None else labels[: BESIDE - 1], middle)
        return self._stage[1]
