"""Fixed images by which a duel is watched: the averaged player's picture over time, its variety, and the critic's memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atelier.generator import draw_latents, to_uint8
from atelier.networks.layers import Discriminator, Generator
from atelier.pictures import grid, png
from atelier.tasks.kinds import Kinds
from atelier.tasks.move import Batch

COMPARED = 128  # images between which distances are taken, and that the critic judges
ROWS, COLUMNS = 8, 10  # of the picture


class Sight:
    """The same latents and the same real images at every moment of a run; with classes, each column of the picture is one class.

    `real` are COMPARED training images, the measure of variety, `held_out` as many that are never trained on (None where there
    are none), and `kinds` are those of the training images.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        seed: int,
        real: Batch,
        held_out: Batch | None,
        kinds: Kinds,
    ) -> None:
        self.generator, self.discriminator = generator, discriminator
        self.real, self.held_out, self.kinds = real, held_out, kinds
        classes = generator.shape.classes
        self.columns = min(classes, COLUMNS) or COLUMNS
        count = max(COMPARED, ROWS * self.columns)
        latents, _ = draw_latents(generator.latent_dim, classes, count, seed)
        self.latents, number = latents.to(real.images.device), torch.arange(count, device=real.images.device)
        self.columns_of = number % self.columns if classes else None
        self.labels = number % min(classes, COMPARED // 2) if classes else None
        self.real_distance = pairwise_distance(self.real.images, self.real.labels if classes else None)

    @property
    def curves(self) -> tuple[str, ...]:
        """Names of what `look` tells."""
        always = ("diversity", "kinds")
        return always if self.held_out is None else (*always, "overfitting", "separation_held_out")

    @torch.no_grad()
    def look(self, generator: nn.Module) -> dict[str, float]:
        """Where the duel stands, without moving it.

        diversity: the mean distance between the generator's images of the batch, over that between real images. support: how
        many real images they come nearest to, over that number for other real images. Then shares of pairs, of which 0.5 is
        chance. overfitting: in which the critic finds a training image more real than a held-out one. separation_held_out: in
        which it finds a held-out image more real than a generated one; nothing is augmented.
        """
        labels = None if self.labels is None else self.labels[:COMPARED]
        images = generator(self.latents[:COMPARED], labels).float().clamp(-1, 1)
        found = {
            "diversity": pairwise_distance(images, labels) / self.real_distance,
            "kinds": self.kinds.share(images),
        }
        if self.held_out is not None:
            known, held_out = (
                self._judged(self.generator.as_painted(one.images), one.labels) for one in (self.real, self.held_out)
            )
            found["overfitting"] = ordered(*known, *held_out)
            found["separation_held_out"] = ordered(*held_out, *self._judged(images, labels))
        return found

    @torch.no_grad()
    def picture(self, generator: nn.Module) -> bytes:
        """The first images of the batch as a PNG."""
        count = ROWS * self.columns
        images = generator(self.latents[:count], None if self.columns_of is None else self.columns_of[:count])
        return png(grid(to_uint8(images), self.columns))

    def _judged(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The critic's logits and their labels; its running statistics stay as they are."""
        count = len(images) // self.discriminator.group * self.discriminator.group
        images, labels = images[:count], None if labels is None or self.labels is None else labels[:count]
        training = self.discriminator.training
        self.discriminator.eval()
        try:
            return self.discriminator(images, labels).overall.float(), labels
        finally:
            self.discriminator.train(training)


def pairwise_distance(images: Tensor, labels: Tensor | None) -> float:
    """Mean Euclidean distance between the images [N,C,H,W] of every pair, within classes where two images share a label.

    A collapsed generator draws the same image (of a class) from every latent: its distance goes to 0.
    """
    flat = images.flatten(1).float()
    distances = torch.cdist(flat, flat)
    counted = ~torch.eye(len(flat), dtype=torch.bool, device=flat.device)
    if labels is not None and (alike := counted & (labels[:, None] == labels[None, :])).any():
        counted = alike
    return distances[counted].mean().item()


def ordered(higher: Tensor, higher_labels: Tensor | None, lower: Tensor, lower_labels: Tensor | None) -> float:
    """The share of pairs in which a value of `higher` [N] exceeds one of `lower` [M], a tie counting half.

    The area under the ROC curve, by Mann and Whitney's U (1947): 0.5 where nothing tells the two apart, 1 where all does. Pairs
    share a label where any do, since a critic may be free to add a constant for each.
    """
    order = (torch.sign(higher[:, None].double() - lower[None, :].double()) + 1) / 2
    if higher_labels is not None and lower_labels is not None:
        alike = higher_labels[:, None] == lower_labels[None, :]
        order = order[alike] if alike.any() else order
    return order.mean().item()
