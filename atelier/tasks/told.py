"""What a generator is told of records: the text and sound of each, by which inputs of these kinds are given."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from atelier.config.section import SettingsError
from atelier.data.packed import PackedDataset
from atelier.data.sampler import CHOICES, words
from atelier.networks import inputs
from atelier.networks.inputs import Takes
from atelier.networks.text_and_sound import OptionalInput


def optional(takes: Takes) -> dict[str, OptionalInput]:
    """The inputs that may be left out, by name."""
    return {name: kind for name, kind in takes.items() if isinstance(kind, OptionalInput)}


def field_of(kind: OptionalInput, images: PackedDataset) -> str:
    """The field of a set's records that holds what an input of this kind takes. Raises SettingsError where none does."""
    found = [name for name, field in images.fields.items() if field.kind == kind.kind]
    if len(found) != 1:
        raise SettingsError(
            f"{images.folder}: its records have {len(found)} fields of kind {kind.kind}, and the generator takes one; give a set "
            "that is packed like the one that it learnt from"
        )
    return found[0]


def told(takes: Takes, images: PackedDataset, rows: np.ndarray, seed: int) -> dict[str, Tensor]:
    """All inputs of images of these records [N, ...] by name: what may be left out is theirs, one of several drawn by the seed.

    Noise is drawn, too; all else has its default.
    """
    drawn = inputs.draw({name: kind for name, kind in takes.items() if kind.random}, len(rows), seed)
    chosen = images.annotations(rows, words(seed, 0, len(rows), CHOICES))
    said = {name: torch.from_numpy(chosen[field_of(kind, images)]) for name, kind in optional(takes).items()}
    return drawn | said
