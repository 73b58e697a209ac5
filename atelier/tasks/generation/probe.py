"""A probe of fixed images: the average's preview over time, its variety, and the discriminator's memory."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from atelier.io.pictures import grid, png
from atelier.models.model import at_once, draw_latents, from_uint8, to_uint8
from atelier.networks.base import Discriminator, LatentGenerator
from atelier.tasks.base import Batch, Examples
from atelier.tasks.mode_coverage import COUNTED, LEARNT, ModeCoverage, pairwise_distance

COMPARED = 128  # images between which distances are taken, and that the discriminator judges
DISTANCE_SIDE = 256  # pixels a side up to which distances are taken in every pixel
ROWS, COLUMNS = 8, 10  # of the picture


class GenerationProbe:
    """The same latents and the same real images at every moment of a run; with classes, each column of the picture is one class.

    COMPARED training images are the measure of variety; as many that are never trained on, where there are any, tell what the
    discriminator has memorized. `curves` are the names of what `measure` returns.
    """

    def __init__(self, generator: LatentGenerator, discriminator: Discriminator, seed: int, examples: Examples) -> None:
        self.generator, self.discriminator = generator, discriminator
        training = examples.training(COMPARED)
        real, held_out = next(training), examples.held_out(COMPARED)
        self.real, self.held_out = _stored(real), None if held_out is None else _stored(held_out)
        self.mode_coverage = ModeCoverage(batch["image"] for batch in itertools.islice(training, LEARNT + COUNTED))
        always = ("diversity", "mode_coverage")
        self.curves = always if held_out is None else (*always, "auc_train_heldout", "auc_heldout_fake")
        classes = generator.shape.classes
        self.columns = min(classes, COLUMNS) or COLUMNS
        count, device = max(COMPARED, ROWS * self.columns), real["image"].device
        latents, _ = draw_latents(generator.latent_dim, classes, count, seed)
        self.latents, number = latents.to(device), torch.arange(count, device=device)
        self.columns_of = number % self.columns if classes else None
        self.labels = number % min(classes, COMPARED // 2) if classes else None
        self.real_distance = pairwise_distance(reduced(real["image"]), real["label"] if classes else None)

    @torch.no_grad()
    def measure(self, averages: Mapping[str, nn.Module]) -> dict[str, float]:
        """The curves at this moment; changes nothing.

        diversity: mean distance between generated images, over that between real images. mode_coverage: their effective number
        of modes, over that of real images. auc_train_heldout: share of pairs in which the discriminator finds a training image
        more real than a held-out one, auc_heldout_fake: a held-out image more real than a generated one; nothing is augmented.
        """
        (generator,) = averages.values()
        labels = None if self.labels is None else self.labels[:COMPARED]
        small, logits = [], []
        for part in self._parts:
            images = generator(self.latents[part], None if labels is None else labels[part]).float().clamp(-1, 1)
            small.append(reduced(images))
            if self.held_out is not None:
                logits.append(self._logits(images, None if labels is None else labels[part]))
        images = torch.cat(small)
        found = {
            "diversity": pairwise_distance(images, labels) / self.real_distance,
            "mode_coverage": self.mode_coverage.share(images),
        }
        if self.held_out is not None:
            known, held_out = (self._judge(one) for one in (self.real, self.held_out))
            found["auc_train_heldout"] = ordered(*known, *held_out)
            found["auc_heldout_fake"] = ordered(*held_out, *_labelled(torch.cat(logits), labels))
        return found

    @torch.no_grad()
    def preview(self, averages: Mapping[str, nn.Module]) -> bytes:
        """The first images of the batch as a PNG."""
        (generator,) = averages.values()
        count, step = ROWS * self.columns, at_once(self.generator.shape.resolution, COMPARED)
        images = []
        for first in range(0, count, step):
            part = slice(first, min(first + step, count))
            images.append(to_uint8(generator(self.latents[part], None if self.columns_of is None else self.columns_of[part])))
        return png(grid(np.concatenate(images), self.columns))

    @property
    def _parts(self) -> list[slice]:
        """The compared images in parts that fit into memory; all but the last are whole groups of the discriminator's."""
        group = self.discriminator.group
        step = max(at_once(self.generator.shape.resolution, COMPARED) // group, 1) * group
        if step + group > COMPARED:
            step = COMPARED
        return [slice(first, min(first + step, COMPARED)) for first in range(0, COMPARED, step)]

    def _judge(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """The discriminator's logits of the batch as it sees it now, and their labels."""
        labels = None if self.labels is None else batch["label"]
        logits = [
            self._logits(self.generator.fade_real(from_uint8(batch["image"][part])), None if labels is None else labels[part])
            for part in self._parts
        ]
        return _labelled(torch.cat(logits), labels)

    def _logits(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """The discriminator's logits of whole groups of images; its running statistics stay as they are."""
        count = len(images) // self.discriminator.group * self.discriminator.group
        if not count:
            return images.new_zeros(0)
        training = self.discriminator.training
        self.discriminator.eval()
        try:
            return self.discriminator(images[:count], None if labels is None else labels[:count]).overall.float()
        finally:
            self.discriminator.train(training)


def _stored(batch: Batch) -> Batch:
    """The images as the uint8 that they were, a quarter of the memory."""
    images = batch["image"]
    return batch | {"image": torch.from_numpy(to_uint8(images)).to(images.device)}


def _labelled(logits: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Logits of the first images, with their labels."""
    return logits, None if labels is None else labels[: len(logits)]


def reduced(images: Tensor) -> Tensor:
    """Images [N,C,H,W] as they are compared: those above DISTANCE_SIDE pixels a side with means of blocks for pixels."""
    factor = images.shape[3] // DISTANCE_SIDE
    return avg_pool2d(images, factor) if factor > 1 else images


def ordered(higher: Tensor, higher_labels: Tensor | None, lower: Tensor, lower_labels: Tensor | None) -> float:
    """The share of pairs in which a value of `higher` [N] exceeds one of `lower` [M], a tie counting half.

    The area under the ROC curve, by Mann and Whitney's U (1947): 0.5 where nothing tells the two apart, 1 where all does. Pairs
    share a label where any do, since a discriminator may be free to add a constant for each.
    """
    order = (torch.sign(higher[:, None].double() - lower[None, :].double()) + 1) / 2
    if higher_labels is not None and lower_labels is not None:
        alike = higher_labels[:, None] == lower_labels[None, :]
        order = order[alike] if alike.any() else order
    return order.mean().item()
