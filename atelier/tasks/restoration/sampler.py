"""The restored pictures that are measured: those of held-out crops, degraded by a fixed seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from atelier.config.settings import fingerprint
from atelier.data.packed import PackedDataset
from atelier.models.model import from_uint8, to_uint8
from atelier.networks.base import Generator
from atelier.networks.inputs import Picture
from atelier.tasks.records import RecordSampler
from atelier.tasks.restoration.degraded import Chain, chain_of, degraded
from atelier.tasks.restoration.settings import Settings
from atelier.tasks.sampling import Sampling

EXAMPLES = 3  # records whose inputs are shown


class DegradedSampler(RecordSampler):
    """Pictures restored from `count` records of single images; each is degraded by random numbers of its own.

    Their scale is that of the generator.
    """

    settings: ClassVar[Settings]

    def __init__(
        self, generator: Generator, names: Sequence[str], imitated: PackedDataset, given: PackedDataset, count: int, seed: int
    ) -> None:
        super().__init__(generator, names, imitated, given, count, seed)
        assert isinstance(self.kind, Picture)
        scale = generator.shape.resolution // self.kind.resolution
        chain = chain_of(self.settings.model_copy(update={"scale": scale}))
        assert chain is not None
        self.chain: Chain = chain
        self.seeds = np.random.SeedSequence(seed).generate_state(count).tolist()
        how = self.settings.degradations
        named, hashed = ", ".join(how.order), fingerprint(how.plain())[:16]
        self.identity = f"{self.identity}; at 1/{scale} of their side by {named} ({hashed}), drawn by the seed"

    @classmethod
    def targets(cls, imitated: PackedDataset, given: PackedDataset) -> bool:
        return True

    def pairs(self, part: slice) -> tuple[np.ndarray, np.ndarray | None]:
        clean = self._clean(part)
        return to_uint8(self._degraded(clean, self.seeds[part])), clean

    def variants(self, columns: int) -> np.ndarray | None:
        count = min(EXAMPLES, len(self.rows))
        rows = []
        for number, clean in enumerate(self._clean(slice(0, count))):
            seeds = np.random.SeedSequence([number, self.seeds[number]]).generate_state(columns - 1).tolist()
            low = to_uint8(self._degraded(np.repeat(clean[None], columns - 1, axis=0), seeds))
            factor = clean.shape[1] // low.shape[2]
            rows.append(np.concatenate([clean[None], low.repeat(factor, axis=2).repeat(factor, axis=3)]))
        return np.stack(rows)

    def _clean(self, part: slice) -> np.ndarray:
        return self.given.images(self.rows[part])

    def _degraded(self, clean: np.ndarray, seeds: Sequence[int]) -> Tensor:
        """Degraded pictures [N, C, h, w] in [-1, 1] of clean ones uint8 [N, C, H, W], one by one, so that no batch counts."""
        side = clean.shape[2]
        images = from_uint8(torch.from_numpy(clean))
        drawn = (self.chain.draw(1, side, torch.Generator().manual_seed(seed)) for seed in seeds)
        return torch.cat([degraded(self.chain, one[None], draws) for one, draws in zip(images, drawn, strict=True)])


def sampling_by(settings: Settings) -> Sampling:
    """What is measured of a restorer that was trained by these settings."""
    return RecordSampler if settings.degradations.pairs else type("Degraded", (DegradedSampler,), {"settings": settings})
