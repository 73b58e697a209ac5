"""Regularizers of the adversarial losses: a class for each, with its settings inside.

`train.regularizers` of params.yaml chooses by `key`; a class of this module is found by that and named nowhere else. The order of
the classes is that in which the losses are summed. This module imports no PyTorch until something is computed, since params.yaml
is read where there is none.

A regularizer draws its random numbers for a whole batch on the CPU, like everything random, and computes its share of the loss of
a part of the batch. What it has to remember from step to step (running means) is kept by the task, and saved with the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from atelier.config.section import Weight
from atelier.config.training import RegularizerSettings, TrainSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from atelier.extractors.perceptual import Perception
    from atelier.networks.base import DiscriminatorOutput, LatentGenerator

LECAM_DECAY, PATH_DECAY = 0.99, 0.99  # Tseng et al. 2021, section 4.1; Karras et al. 2020, appendix B
Memory = dict[str, float]


@dataclass(frozen=True)
class LossContext:
    """An update on a part of the batch: N images, and functions for further ones.

    Real and fake images [N, *generator.judged] require gradients where one asks for it; the generator's update has no
    `real_output`. `generate` takes other latents [N, latent_dim], `discriminate` other images, both with the labels and the noise
    of this part; `discriminate_real` and `discriminate_fake` have the augmentation and the noise of either side.
    `penalty` is the weight of lazy regularizers now. `logged` takes what the curves or the memory want.
    """

    generator: LatentGenerator
    labels: Tensor | None
    latents: Tensor
    noise: Tensor | None
    real: Tensor
    fake: Tensor
    real_output: DiscriminatorOutput | None
    fake_output: DiscriminatorOutput
    generate: Callable[[Tensor], Tensor]
    discriminate: Callable[[Tensor], DiscriminatorOutput]
    discriminate_real: Callable[[Tensor], DiscriminatorOutput]
    discriminate_fake: Callable[[Tensor], DiscriminatorOutput]
    penalty: float
    memory: Memory
    logged: dict[str, Tensor]


class Regularizer(RegularizerSettings):
    """A regularizer of the losses of the updates in `roles`.

    `by_real`, `by_fake`: it differentiates the logits by these images. `lazy`: it is due every penalty_every steps alone, with
    so much more weight, and follows penalty_final.
    """

    roles: ClassVar[tuple[str, ...]] = ("discriminator",)
    by_real: ClassVar[bool] = False
    by_fake: ClassVar[bool] = False
    lazy: ClassVar[bool] = False

    def draw(self, count: int, generator: LatentGenerator) -> Tensor:
        """Random numbers of `count` images, [count, ...]."""
        import torch

        return torch.empty(count, 0)

    def loss(self, context: LossContext, drawn: Tensor) -> Tensor:
        """The weighted scalar that is added to the adversarial loss; `drawn` is this part of what `draw` has drawn."""
        raise NotImplementedError

    def remember(self, memory: Memory, logged: dict[str, Tensor]) -> None:
        """Updates the memory with what a whole update, of all ranks, has logged."""


def chosen(train: TrainSettings) -> list[Regularizer]:
    """The regularizers that the settings switch on, in the order of this module."""
    return [cast(Regularizer, one) for one in train.regularizers.chosen()]


class R1(Regularizer):
    key, by_real, lazy, gradient_norm = "r1", True, True, 0

    weight: Weight = Field(description="weight gamma of the R1 penalty (on real images) at the start")

    def loss(self, context: LossContext, drawn: Tensor) -> Tensor:
        from atelier.losses import penalties

        assert context.real_output is not None
        return self.weight * context.penalty / 2 * penalties.gradient_penalty(context.real_output.overall, context.real).mean()


class R2(Regularizer):
    key, by_fake, lazy, gradient_norm = "r2", True, True, 0

    weight: Weight = Field(description="weight gamma of the R2 penalty (on generated images) at the start")

    def loss(self, context: LossContext, drawn: Tensor) -> Tensor:
        from atelier.losses import penalties

        return self.weight * context.penalty / 2 * penalties.gradient_penalty(context.fake_output.overall, context.fake).mean()


class ApproximateR1(Regularizer):
    """R1 by a difference along a random direction, which asks for no second derivatives."""

    key, lazy, gradient_norm = "approximate_r1", True, 0

    weight: Weight = Field(
        description="weight gamma of the approximate R1 penalty at the start: of the mean square difference of the logits at a "
        "small step from the real images, over that of the step"
    )
    sigma: Annotated[float, Field(gt=0)] = Field(default=0.01, description="standard deviation of the step, in pixels of [-1, 1]")

    def draw(self, count: int, generator: LatentGenerator) -> Tensor:
        import torch

        channels, height, width = generator.judged
        return torch.randn(count, channels // generator.levels, height, width).repeat(1, generator.levels, 1, 1)

    def loss(self, context: LossContext, drawn: Tensor) -> Tensor:
        assert context.real_output is not None
        moved = context.discriminate_real(context.real.detach() + self.sigma * drawn)
        return self.penalty(context, context.real_output, moved)

    def penalty(self, context: LossContext, at: DiscriminatorOutput, moved: DiscriminatorOutput) -> Tensor:
        """The weighted penalty of the outputs at the images and at a step from them."""
        from atelier.losses import penalties

        return self.weight * context.penalty / 2 * penalties.difference_penalty(at.overall, moved.overall, self.sigma).mean()


class ApproximateR2(ApproximateR1):
    key = "approximate_r2"

    weight: Weight = Field(description="weight gamma of the approximate R2 penalty (on generated images) at the start")

    def draw(self, count: int, generator: LatentGenerator) -> Tensor:
        import torch

        return torch.randn(count, *generator.judged)

    def loss(self, context: LossContext, drawn: Tensor) -> Tensor:
        return self.penalty(context, context.fake_output, context.discriminate_fake(context.fake.detach() + self.sigma * drawn))


class GradientPenalty(Regularizer):
    key, lazy, gradient_norm = "gradient_penalty", True, 1

    weight: Weight = Field(
        description="weight of WGAN-GP's penalty (gradient norms of 1 between real and generated images) at the start, usually 10"
    )

    def draw(self, count: int, generator: LatentGenerator) -> Tensor:
        import torch

        return torch.rand(count)

    def loss(self, context: LossContext, drawn: Tensor) -> Tensor:
        from atelier.losses import penalties

        point = penalties.between(context.real.detach(), context.fake.detach(), drawn).requires_grad_()
        return self.weight * context.penalty * penalties.lipschitz_penalty(context.discriminate(point).overall, point).mean()


class DRAGAN(Regularizer):
    key, lazy, gradient_norm = "dragan", True, 1

    weight: Weight = Field(
        description="weight of DRAGAN's penalty (gradient norms of 1 near real images) at the start, usually 10"
    )

    def draw(self, count: int, generator: LatentGenerator) -> Tensor:
        import torch

        return torch.rand(count, 1 + math.prod(generator.judged))

    def loss(self, context: LossContext, drawn: Tensor) -> Tensor:
        from atelier.losses import penalties

        real = context.real.detach()
        point = penalties.near(real, drawn[:, 1:].view_as(real), drawn[:, 0]).requires_grad_()
        return self.weight * context.penalty * penalties.lipschitz_penalty(context.discriminate(point).overall, point).mean()


class LatentConsistency(Regularizer):
    """The discriminator's half of zCR."""

    key = "zcr_discriminator"

    weight: Weight = Field(
        description="latent consistency (zCR), discriminator: weight of the difference of its logits on images of nearby "
        "latents, usually 5"
    )
    sigma: Annotated[float, Field(gt=0)] = Field(default=0.05, description="standard deviation of the step to a nearby latent")

    def draw(self, count: int, generator: LatentGenerator) -> Tensor:
        import torch

        return torch.randn(count, generator.latent_dim)

    def loss(self, context: LossContext, drawn: Tensor) -> Tensor:
        import torch

        from atelier.losses import penalties

        with torch.no_grad():
            moved = context.generate(context.latents + self.sigma * drawn)
        return self.weight * penalties.mean_square_difference(context.fake_output.logits, context.discriminate(moved).logits)


class LatentVariety(LatentConsistency):
    """The generator's half of zCR."""

    key, roles = "zcr_generator", ("generator",)

    weight: Weight = Field(
        description="latent consistency (zCR), generator: weight of the mean square difference of these images, which is to be "
        "large, usually 0.5"
    )

    def loss(self, context: LossContext, drawn: Tensor) -> Tensor:
        from atelier.losses import penalties

        moved = context.generate(context.latents + self.sigma * drawn)
        return -self.weight * penalties.mean_square_difference(context.fake, moved)


class LeCam(Regularizer):
    key = "lecam"

    weight: Weight = Field(
        description="weight of the LeCam regularizer (logits near the running means of the other side), for few images, "
        "usually 0.3"
    )

    def check(self, train: TrainSettings) -> None:
        if train.objective in ("wasserstein", "relativistic", "relativistic_average"):
            raise ValueError(
                f"lecam compares the logits with their running means, but {train.objective} leaves them free to drift together; "
                "take lecam out of regularizers, or set objective: nonsaturating or hinge"
            )

    def loss(self, context: LossContext, drawn: Tensor) -> Tensor:
        from atelier.losses import penalties

        assert context.real_output is not None
        real, fake = context.real_output.overall, context.fake_output.overall
        if "lecam_real" not in context.memory:  # the first step has nothing to compare with
            return real.new_zeros(())
        return self.weight * penalties.lecam(real, fake, context.memory["lecam_real"], context.memory["lecam_fake"])

    def remember(self, memory: Memory, logged: dict[str, Tensor]) -> None:
        for side in ("real", "fake"):
            remember(memory, f"lecam_{side}", logged[f"{side}_logits"], LECAM_DECAY)


class PathLength(Regularizer):
    key, roles, lazy, needs = "path_length", ("generator",), True, "styles"

    weight: Weight = Field(description="weight of StyleGAN2's path length penalty at the start, usually 2")

    def draw(self, count: int, generator: LatentGenerator) -> Tensor:
        import torch

        side = generator.shape.resolution
        return torch.randn(count, generator.shape.channels, side, side)

    def loss(self, context: LossContext, drawn: Tensor) -> Tensor:
        from atelier.losses import penalties

        code = context.generator.code(context.latents, context.labels)
        images = context.generator.synthesize(code, context.labels, context.noise).float()
        lengths = penalties.path_lengths(images, code, drawn)
        context.logged["path_length"] = lengths.detach()
        mean = context.memory.get("path_length", lengths.mean().detach())  # the first step has its own alone
        return self.weight * context.penalty * (lengths - mean).square().mean()

    def remember(self, memory: Memory, logged: dict[str, Tensor]) -> None:
        if "path_length" in logged:
            remember(memory, "path_length", logged["path_length"], PATH_DECAY)


class Orthogonal(Regularizer):
    key, roles = "orthogonal", ("generator",)

    weight: Weight = Field(
        description="weight of the orthogonal regularization of the generator's weights, usually 0.0001 (biggan)"
    )

    def loss(self, context: LossContext, drawn: Tensor) -> Tensor:
        import torch

        from atelier.losses import penalties

        with torch.autocast(context.fake.device.type, enabled=False):
            return self.weight * penalties.orthogonal(context.generator)


class Perceptual(Regularizer):
    """Generated and real images are to look alike, on the whole, to a pretrained network; each rank's part by itself."""

    key, roles = "perceptual", ("generator",)

    weight: Weight = Field(
        description="weight of the perceptual loss: how far a pretrained network's mean features of a batch of generated images "
        "are from those of real ones"
    )
    network: Literal["efficientnet_lite0", "vgg16"] = Field(
        default="efficientnet_lite0", description="that network: efficientnet_lite0 or vgg16"
    )
    weights: Annotated[str, Field(min_length=1)] = Field(
        default="packaged",
        description="its weights: packaged (efficientnet_lite0); published (fetched once, hash checked), a file, or an s3:// URI "
        "(vgg16)",
    )

    @model_validator(mode="after")
    def _weights_of_the_network(self) -> Self:
        if (self.network == "efficientnet_lite0") != (self.weights == "packaged"):
            raise ValueError(
                f"weights {self.weights} are not for {self.network}: set packaged for efficientnet_lite0; published, a file or "
                "an s3:// URI for vgg16"
            )
        return self

    def loss(self, context: LossContext, drawn: Tensor) -> Tensor:
        import torch

        from atelier.extractors import perceptual

        perceive = _perception(self.network, self.weights, context.fake.device)
        with torch.no_grad():
            wanted = perceive(context.generator.shown(context.real))
        return self.weight * perceptual.mean_difference(perceive(context.generator.shown(context.fake)), wanted)


class Classification(Regularizer):
    """AC-GAN (Odena et al. 2017, eq. 3): the discriminator learns the classes, the generator to be recognized."""

    key, roles, needs = "classification", ("discriminator", "generator"), "auxiliary classifier"

    weight: Weight = Field(
        description="weight of the auxiliary classifier's cross-entropy (model.conditioning: auxiliary), usually 1"
    )

    def loss(self, context: LossContext, drawn: Tensor) -> Tensor:
        import torch

        outputs = [output for output in (context.real_output, context.fake_output) if output is not None]
        return self.weight * torch.stack([self._error(output, context.labels) for output in outputs]).sum()

    @staticmethod
    def _error(output: DiscriminatorOutput, labels: Tensor | None) -> Tensor:
        from torch.nn.functional import cross_entropy

        assert output.classes is not None and labels is not None
        return cross_entropy(output.classes, labels)


@cache
def _perception(network: str, weights: str, device: torch.device) -> Perception:
    from atelier.extractors import perceptual

    return perceptual.load_perception(network, weights, "regularizers.perceptual.weights").to(device)


def remember(memory: Memory, name: str, values: Tensor, decay: float) -> None:
    """Moves a running mean towards the mean of `values`, which it begins with."""
    now = values.double().mean().item()
    memory[name] = now + decay * (memory.get(name, now) - now)
