"""A generator that is told what to make, as one of latents: each text or recording takes the place of a class.

Its code is the fused one, of noise and what is said, so that codes of different texts can be mixed and bred.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from atelier.models.model import GeneratorError
from atelier.networks.base import Discriminator, DiscriminatorOutput, LatentGenerator
from atelier.networks.fusion import AUDIO, NOISE, TEXT, FusionDiscriminator, FusionGenerator
from atelier.networks.given import Refusal
from atelier.networks.inputs import Noise


class ToldGenerator(LatentGenerator):
    """Latents [N, noise] and labels [N], which say what is told, to images; the labels are None where one thing is.

    `told` are the inputs of the K things, [K, ...] each, zeros where one is not given; `names` what they are called.
    """

    def __init__(self, generator: FusionGenerator, told: dict[str, Tensor], names: Sequence[str]) -> None:
        noise = generator.takes[NOISE]
        assert isinstance(noise, Noise)
        several = len(names) > 1
        super().__init__(noise.size, replace(generator.shape, classes=len(names) if several else 0))
        self.generator, self.told = generator, told
        self.info = generator.info.model_copy(update={"classes": list(names) if several else []})
        self.sha256 = generator.sha256

    def code(self, z: Tensor, label: Tensor | None) -> Tensor:
        rows = torch.zeros(len(z), dtype=torch.int64, device=z.device) if label is None else label
        return self.generator.code(z, **{name: one[rows] for name, one in self.told.items()})[:, None]

    def synthesize(self, code: Tensor, label: Tensor | None, noise: Tensor | None = None) -> Tensor:
        return self.generator.synthesize(code[:, 0])

    def truncate(self, code: Tensor, label: Tensor | None, psi: float | Tensor) -> Tensor:
        """Towards what the same is told without noise."""
        center = self.code(torch.zeros(len(code), self.latent_dim, device=code.device), label)
        return center + psi * (code - center)


class Unasked(Discriminator):
    """A discriminator that is asked for images alone, whatever they show: texts of zeros say nothing."""

    def __init__(self, discriminator: FusionDiscriminator) -> None:
        super().__init__(discriminator.shape, "projection")
        self.discriminator = discriminator

    def forward(self, images: Tensor, label: Tensor | None = None) -> DiscriminatorOutput:
        return self.discriminator(images, images.new_zeros(len(images), self.discriminator.text.in_features))  # type: ignore[no-any-return]


def told(generator: FusionGenerator, texts: Sequence[str], recordings: Sequence[Path]) -> ToldGenerator:
    """The generator told these texts and recordings, or nothing where there are none.

    Raises GeneratorError for what it does not take, or cannot read.
    """
    device = next(generator.parameters()).device
    named = [(TEXT, text, text) for text in texts] + [(AUDIO, path, path.name) for path in recordings]
    values: dict[str, list[Tensor]] = {name: [] for name in generator.told}
    for given, what, called in named or [("", "", "nothing")]:
        kinds = {name: generator.takes[name] for name in generator.told}
        if given and given not in kinds:
            raise GeneratorError(f"--{given}: this generator takes {', '.join(kinds)}; leave it out")
        for name, kind in kinds.items():
            if name != given:
                values[name].append(kind.assumed.tensor)  # type: ignore[union-attr]
                continue
            try:
                value = base64.b64encode(what.read_bytes()).decode() if isinstance(what, Path) else what
                values[name].append(kind.read(value, ()).tensor)
            except (Refusal, OSError) as error:
                raise GeneratorError(f"--{given} {called}: give {error}") from error
    tensors = {name: torch.stack(parts).to(device) for name, parts in values.items()}
    return ToldGenerator(generator, tensors, [called for _, _, called in named] or ["nothing"])
