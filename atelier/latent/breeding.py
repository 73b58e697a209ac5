"""Breeding: children whose code comes part by part from their parents', with mutations.

The uniform crossover of genetic algorithms (Syswerda 1989), on codes: of independent normal values any mixture is one again, so
that children are as likely as their parents.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from atelier.latent.edits import Points
from atelier.models.model import GeneratorError
from atelier.networks.base import LatentGenerator

CODES = "codes.safetensors"
GENES = 8  # of a code with a single part


@dataclass(frozen=True)
class Individuals:
    """Codes float [N, parts, width], labels int64 [N] (None without classes), and the name of each."""

    codes: Tensor
    labels: Tensor | None
    names: list[str]


@dataclass(frozen=True)
class Children(Individuals):
    """Children, with the index of the parent of each gene, int64 [N, genes]; the label is the first gene's parent's."""

    inherited: Tensor


def of_points(generator: LatentGenerator, of: Points, names: Sequence[str]) -> Individuals:
    """The individuals of latents and labels."""
    with torch.no_grad():
        return Individuals(generator.code(of.latents, of.labels), of.labels, list(names))


def genes(parts: int, width: int) -> list[tuple[slice, slice]]:
    """What of a code [parts, width] each gene is: a part, or of a single part an eighth."""
    if parts > 1:
        return [(slice(part, part + 1), slice(None)) for part in range(parts)]
    count = min(GENES, width)
    edges = [round(index * width / count) for index in range(count + 1)]
    return [(slice(None), slice(first, last)) for first, last in itertools.pairwise(edges)]


def crossed(codes: Tensor, inherited: Tensor) -> Tensor:
    """Parents [P, parts, width] and the parent of each gene int64 [N, genes] -> children [N, parts, width]."""
    children = codes[inherited[:, 0]].clone()
    for gene, (parts, columns) in enumerate(genes(*codes.shape[1:])):
        children[:, parts, columns] = codes[inherited[:, gene]][:, parts, columns]
    return children


def mutated(generator: LatentGenerator, codes: Tensor, labels: Tensor | None, size: float, random: torch.Generator) -> Tensor:
    """Codes [N, parts, width] on the way to fresh ones: 0 leaves them, 1 makes new ones.

    c + sqrt(1 - size^2) (code - c) + size (fresh - c), where c is the commonest code: mean and variance stay.
    """
    latents = torch.randn(len(codes), generator.latent_dim, generator=random).to(codes.device)
    with torch.no_grad():
        center, fresh = generator.truncate(codes, labels, 0.0), generator.code(latents, labels)
    return center + math.sqrt(1 - size**2) * (codes - center) + size * (fresh - center)


def bred(generator: LatentGenerator, parents: Individuals, count: int, mutation: float, seed: int) -> Children:
    """`count` children, each gene of a parent that `seed` draws; each child has two parents at least where it has two genes."""
    random = torch.Generator().manual_seed(seed)
    number = len(genes(*parents.codes.shape[1:]))
    inherited = torch.randint(len(parents.codes), (count, number), generator=random)
    uniform = (inherited == inherited[:, :1]).all(dim=1)
    inherited[uniform, -1] = (inherited[uniform, -1] + 1) % len(parents.codes)
    labels = None if parents.labels is None else parents.labels[inherited[:, 0].to(parents.labels.device)]
    codes = crossed(parents.codes, inherited.to(parents.codes.device))
    codes = mutated(generator, codes, labels, mutation, random) if mutation else codes
    return Children(codes, labels, [str(index) for index in range(count)], inherited)


def kept(generator: LatentGenerator, individuals: Individuals) -> bytes:
    """Codes and labels as a safetensors file, which names the weights that they belong to."""
    tensors = {"codes": individuals.codes.cpu().contiguous()}
    if individuals.labels is not None:
        tensors["labels"] = individuals.labels.cpu().contiguous()
    return save(tensors, metadata={"weights": generator.sha256})


def read(generator: LatentGenerator, folder: Path, index: int) -> Individuals:
    """One individual of a folder that breed or explore has written. Raises GeneratorError."""
    path = Path(folder) / CODES
    device = next(generator.parameters()).device
    try:
        with safe_open(path, "pt") as file:
            weights, codes = (file.metadata() or {}).get("weights"), file.get_tensor("codes")
            labels = file.get_tensor("labels") if "labels" in file.keys() else None  # noqa: SIM118 - it is no mapping
    except (OSError, SafetensorError) as error:
        raise GeneratorError(
            f"{path}: no codes there ({error}); give FOLDER/NUMBER of what breed or explore has written"
        ) from error
    if weights != generator.sha256:
        raise GeneratorError(f"{path}: codes of another generator, whose weights are {weights}; give the folder of this one's")
    if not index < len(codes):
        raise GeneratorError(f"{folder}/{index}: choose a number from 0 to {len(codes) - 1}")
    row = slice(index, index + 1)
    return Individuals(codes[row].to(device), None if labels is None else labels[row].to(device), [f"{folder}/{index}"])


def together(parts: Sequence[Individuals]) -> Individuals:
    """All of them, in order."""
    labels = [part.labels for part in parts if part.labels is not None]
    names = [name for part in parts for name in part.names]
    return Individuals(torch.cat([part.codes for part in parts]), torch.cat(labels) if labels else None, names)
