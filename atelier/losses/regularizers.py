"""What is added to a player's adversarial loss: one small class for each regulariser, chosen by its weight in the settings.

A term draws its random numbers for a whole batch on the CPU, like everything random, and computes its share of the loss of a part
of the batch. What it has to remember from step to step (running means) is kept by the task, and saved with the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from atelier.config.training import TrainSettings
from atelier.extractors import perceptual
from atelier.extractors.perceptual import Perception
from atelier.losses import penalties
from atelier.networks.layers import LatentGenerator, Verdict

LECAM_DECAY, PATH_DECAY = 0.99, 0.99  # Tseng et al. 2021, section 4.1; Karras et al. 2020, appendix B
Memory = dict[str, float]


@dataclass(frozen=True)
class Seen:
    """A player's move on a part of the batch: N images, and how further ones come about.

    Real and fake images [N, C, H, W] require gradients where a term asks for it. In the generator's move D has not judged `real`.
    `paint` takes other latents [N, latent_dim], `judge` other images, both with the labels and the chance of this part.
    `penalty` is the weight that the schedule gives to lazy terms now. `shown` takes what the curves or the memory want.
    """

    generator: LatentGenerator
    labels: Tensor | None
    latents: Tensor
    chance: Tensor | None
    real: Tensor
    fake: Tensor
    real_verdict: Verdict | None
    fake_verdict: Verdict
    paint: Callable[[Tensor], Tensor]
    judge: Callable[[Tensor], Verdict]
    penalty: float
    memory: Memory
    shown: dict[str, Tensor]


class Term:
    """A regulariser of one player; `key` is its weight's in the settings."""

    key: str
    player = "discriminator"
    by_real = by_fake = False  # whether it differentiates the verdict by the images
    lazy = False  # whether it is due every penalty_every steps alone, with so much more weight, and follows penalty_final

    def __init__(self, train: TrainSettings) -> None:
        self.train, self.weight = train, float(getattr(train, self.key))

    def draw(self, count: int, generator: LatentGenerator) -> Tensor:
        """Random numbers of `count` images, [count, ...]."""
        return torch.empty(count, 0)

    def loss(self, seen: Seen, drawn: Tensor) -> Tensor:
        """What is added to the player's loss, weighted, a scalar; `drawn` is this part of what `draw` has drawn."""
        raise NotImplementedError

    def remember(self, memory: Memory, shown: dict[str, Tensor]) -> None:
        """Takes into the memory what a whole move, of all ranks, has shown."""


class R1(Term):
    key, by_real, lazy = "r1", True, True

    def loss(self, seen: Seen, drawn: Tensor) -> Tensor:
        assert seen.real_verdict is not None
        return self.weight * seen.penalty / 2 * penalties.gradient_penalty(seen.real_verdict.overall, seen.real).mean()


class R2(Term):
    key, by_fake, lazy = "r2", True, True

    def loss(self, seen: Seen, drawn: Tensor) -> Tensor:
        return self.weight * seen.penalty / 2 * penalties.gradient_penalty(seen.fake_verdict.overall, seen.fake).mean()


class GradientPenalty(Term):
    key, lazy = "gradient_penalty", True

    def draw(self, count: int, generator: LatentGenerator) -> Tensor:
        return torch.rand(count)

    def loss(self, seen: Seen, drawn: Tensor) -> Tensor:
        point = penalties.between(seen.real.detach(), seen.fake.detach(), drawn).requires_grad_()
        return self.weight * seen.penalty * penalties.lipschitz_penalty(seen.judge(point).overall, point).mean()


class DRAGAN(Term):
    key, lazy = "dragan", True

    def draw(self, count: int, generator: LatentGenerator) -> Tensor:
        side = generator.shape.resolution
        return torch.rand(count, 1 + generator.shape.channels * side * side)

    def loss(self, seen: Seen, drawn: Tensor) -> Tensor:
        real = seen.real.detach()
        point = penalties.near(real, drawn[:, 1:].view_as(real), drawn[:, 0]).requires_grad_()
        return self.weight * seen.penalty * penalties.lipschitz_penalty(seen.judge(point).overall, point).mean()


class LatentConsistency(Term):
    """The discriminator's half of zCR."""

    key = "zcr_discriminator"

    def draw(self, count: int, generator: LatentGenerator) -> Tensor:
        return torch.randn(count, generator.latent_dim)

    def loss(self, seen: Seen, drawn: Tensor) -> Tensor:
        with torch.no_grad():
            moved = seen.paint(seen.latents + self.train.zcr_sigma * drawn)
        return self.weight * penalties.mean_square_difference(seen.fake_verdict.logits, seen.judge(moved).logits)


class LatentVariety(LatentConsistency):
    """The generator's half of zCR."""

    key, player = "zcr_generator", "generator"

    def loss(self, seen: Seen, drawn: Tensor) -> Tensor:
        moved = seen.paint(seen.latents + self.train.zcr_sigma * drawn)
        return -self.weight * penalties.mean_square_difference(seen.fake, moved)


class LeCam(Term):
    key = "lecam"

    def loss(self, seen: Seen, drawn: Tensor) -> Tensor:
        assert seen.real_verdict is not None
        real, fake = seen.real_verdict.overall, seen.fake_verdict.overall
        if "lecam_real" not in seen.memory:  # the first step has nothing to compare with
            return torch.zeros_like(real[0])
        return self.weight * penalties.lecam(real, fake, seen.memory["lecam_real"], seen.memory["lecam_fake"])

    def remember(self, memory: Memory, shown: dict[str, Tensor]) -> None:
        for side in ("real", "fake"):
            remember(memory, f"lecam_{side}", shown[f"{side}_logits"], LECAM_DECAY)


class PathLength(Term):
    key, player, lazy = "path_length", "generator", True

    def draw(self, count: int, generator: LatentGenerator) -> Tensor:
        side = generator.shape.resolution
        return torch.randn(count, generator.shape.channels, side, side)

    def loss(self, seen: Seen, drawn: Tensor) -> Tensor:
        code = seen.generator.code(seen.latents, seen.labels)
        images = seen.generator.paint(code, seen.labels, seen.chance).float()
        lengths = penalties.path_lengths(images, code, drawn)
        seen.shown["path_length"] = lengths.detach()
        mean = seen.memory.get("path_length", lengths.mean().detach())  # the first step has its own alone
        return self.weight * seen.penalty * (lengths - mean).square().mean()

    def remember(self, memory: Memory, shown: dict[str, Tensor]) -> None:
        if "path_length" in shown:
            remember(memory, "path_length", shown["path_length"], PATH_DECAY)


class Orthogonal(Term):
    key, player = "orthogonal", "generator"

    def loss(self, seen: Seen, drawn: Tensor) -> Tensor:
        with torch.autocast(seen.fake.device.type, enabled=False):
            return self.weight * penalties.orthogonal(seen.generator)


class Classification(Term):
    """The discriminator's half of AC-GAN: it names the classes of real and of generated images (Odena et al. 2017, eq. 3)."""

    key = "classification"

    def loss(self, seen: Seen, drawn: Tensor) -> Tensor:
        verdicts = [verdict for verdict in (seen.real_verdict, seen.fake_verdict) if verdict is not None]
        return self.weight * torch.stack([self._error(verdict, seen.labels) for verdict in verdicts]).sum()

    @staticmethod
    def _error(verdict: Verdict, labels: Tensor | None) -> Tensor:
        assert verdict.classes is not None and labels is not None
        return cross_entropy(verdict.classes, labels)


class Perceptual(Term):
    """Generated and real images are to look alike, on the whole, to a pretrained network; each rank's part by itself."""

    key, player = "perceptual", "generator"

    def loss(self, seen: Seen, drawn: Tensor) -> Tensor:
        perceive = self._network(seen.fake.device)
        with torch.no_grad():
            wanted = perceive(seen.real)
        return self.weight * perceptual.mean_difference(perceive(seen.fake), wanted)

    def _network(self, device: torch.device) -> Perception:
        if self._loaded is None:
            network, weights = self.train.perceptual_network, self.train.perceptual_weights
            self._loaded = perceptual.load_perception(network, weights, "train.perceptual_weights").to(device)
        return self._loaded

    _loaded: Perception | None = None


class Recognition(Classification):
    """The generator's half of AC-GAN: its images are to be recognised."""

    player = "generator"


TERMS = (
    R1, R2, GradientPenalty, DRAGAN, LatentConsistency, LeCam, Classification,
    LatentVariety, PathLength, Orthogonal, Perceptual, Recognition,
)  # fmt: skip


def remember(memory: Memory, name: str, values: Tensor, decay: float) -> None:
    """Moves a running mean towards the mean of `values`, which it begins with."""
    now = values.double().mean().item()
    memory[name] = now + decay * (memory.get(name, now) - now)
