"""What a player's move is made of: real images, random numbers, and what schedules and controllers set."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from atelier.losses import augment


@dataclass(frozen=True)
class Batch:
    """Real images [N,C,H,W] in [-1, 1] and labels int64 [N] (zeros when the data have none)."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Draws:
    """The randomness of one move for a whole batch, drawn on the CPU so that every device and rank sees the same numbers.

    `chance` [N, generator.chance] is what varies an image beside its latent, None where nothing does; `terms` is what the
    regularisers have drawn, by their keys.
    """

    latents: Tensor
    real: augment.Draws
    fake: augment.Draws
    chance: Tensor | None = None
    terms: dict[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, part: slice) -> Draws:
        chance = None if self.chance is None else self.chance[part]
        terms = {key: drawn[part] for key, drawn in self.terms.items()}
        return Draws(self.latents[part], self.real[part], self.fake[part], chance, terms)


@dataclass(frozen=True)
class Pressure:
    """What schedules and controllers set for a step: the weight of lazy terms, 0 where none is due, and the augmentation's p."""

    penalty: float
    augment_p: float
