"""The base of tasks whose discriminators judge patches: what they see, their losses, and the randomness of an update by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from atelier.config.section import SettingsError
from atelier.config.training import TrainSettings
from atelier.losses import augment
from atelier.losses.adversarial import OBJECTIVES
from atelier.losses.patches import discriminator_loss, generator_loss
from atelier.losses.regularizers import LossContext, Regularizer, chosen
from atelier.networks.base import Network, PatchOutput, Translator
from atelier.networks.layers import wide
from atelier.networks.modes import differentiated_twice
from atelier.tasks.adversarial import AdversarialTask, clip, freeze, prepare
from atelier.tasks.base import Logged, Loss, StepWeights, Update
from atelier.tasks.compiling import compiled

LOGITS = ("real_logits", "fake_logits")
FITTING = (  # regularizers that look at a discriminator and its images alone
    *("r1", "r2", "approximate_r1", "approximate_r2"),
    *("gradient_penalty", "dragan", "lecam"),
)


@dataclass(frozen=True)
class NamedDraws:
    """Random numbers of an update by name, each for the whole batch: a part of it takes its part of each."""

    parts: Mapping[str, Any]

    def __getitem__(self, part: slice) -> NamedDraws:
        return NamedDraws({name: drawn[part] for name, drawn in self.parts.items()})


@dataclass(frozen=True)
class Shared:
    """A random value that all records of a batch share, so that each part of it has the same one."""

    value: Any

    def __getitem__(self, part: slice) -> Shared:
        return self


class PatchAdversarialTask(AdversarialTask):
    """Translators against discriminators of patches, which see real and generated images augmented alike.

    A discriminator is called by its network's name; with `condition` it also sees what an image was made from. `shown` names what
    a generator's update logs for the discriminator's next one, so that a step has one pass of the generator.
    """

    shown: ClassVar[tuple[str, ...]] = ()

    def __init__(self, train: TrainSettings, normalized: bool) -> None:
        super().__init__()
        self.train, self.normalized = train, normalized or train.averages
        self.objective = OBJECTIVES[train.objective]
        self.policy = augment.policy(train.augment, train.augment_policy)
        self.regularizers: list[Regularizer] = chosen(train)
        self.networks: dict[str, Network] = {}
        self._passes: dict[str, Callable[..., Any]] = {}
        self._mixing: set[str] = set()  # networks whose batch norm mixes the images of a pass
        if unfit := [one.key for one in self.regularizers if one.key not in FITTING]:
            raise SettingsError(
                f"regularizers: {', '.join(unfit)} moves in the space of latents, and images are made from images here; take it "
                f"out (what fits is {', '.join(FITTING)})"
            )

    def begin(self, networks: Mapping[str, Network]) -> None:
        """Takes the networks, once they are made. Raises SettingsError where stages are frozen that there are not."""
        self.networks = dict(networks)
        prepare(networks.values(), self.train)
        self._mixing = {name for name, one in networks.items() if any(isinstance(part, nn.BatchNorm2d) for part in one.modules())}
        self._passes = {name: compiled(one) if self.train.compile else one for name, one in networks.items()}

    def activate(self, update: Update) -> None:
        super().activate(update)
        freeze(self.networks.values(), self.train)

    def draw_for(self, discriminator: str, update: Update, count: int) -> dict[str, Any]:
        """What `judge` and `adversarial` need for one discriminator."""
        drawn = {f"{discriminator}.{side}": self.policy.draw(count) for side in ("real", "fake")}
        translator = next(one for one in self.networks.values() if isinstance(one, Translator))
        due = [one for one in self.regularizers if update.role in one.roles]
        return drawn | {f"{discriminator}.{one.key}": one.draw(count, translator) for one in due}  # type: ignore[arg-type]

    def shown_in(self, update: Update) -> dict[str, Tensor]:
        """What the generator has made for a discriminator's update; nothing before its first one, and for its own."""
        return {name: self.pools[name] for name in self.shown if name in self.pools and update.role == "discriminator"}

    def translate(self, name: str, noise: Tensor | None = None, **inputs: Tensor) -> Tensor:
        """Images of the translator `name`, in float32 at least, like real ones."""
        self.networks[name].power_iteration()
        return wide(self._passes[name](noise, **inputs))

    def judge(
        self,
        name: str,
        real: Tensor,
        fake: Tensor,
        draws: NamedDraws,
        weights: StepWeights,
        condition: Tensor | None = None,
        fake_condition: Tensor | None = None,
    ) -> Loss:
        """The loss of the discriminator `name` of real and generated images, each with its condition, regularized."""
        due = [one for one in self.regularizers if weights.penalty > 0 or not one.lazy]
        real = real.requires_grad_(any(one.by_real for one in due))
        fake = fake.detach().requires_grad_(any(one.by_fake for one in due))
        sides = draws.parts[f"{name}.real"], draws.parts[f"{name}.fake"]
        if due or name in self._mixing:
            real_output = self._seen(name, real, sides[0], weights, condition)
            fake_output = self._seen(name, fake, sides[1], weights, fake_condition)
        else:  # an image's output is its own, and one pass is faster than two
            both = None if condition is None or fake_condition is None else torch.cat([condition, fake_condition])
            output = self._seen(name, torch.cat([real, fake]), sides[0] + sides[1], weights, both)
            real_output, fake_output = output.split(len(real))
        total = discriminator_loss(self.objective, real_output.logits, fake_output.logits)
        logged = {
            "loss_discriminator": total.detach(),
            "real_logits": real_output.overall.detach(),
            "fake_logits": fake_output.overall.detach(),
        }
        context = LossContext(
            generator=None,  # type: ignore[arg-type] # nothing in FITTING asks for what starts from latents
            labels=None,
            latents=real.new_empty(0),
            noise=None,
            real=real,
            fake=fake,
            real_output=real_output,  # type: ignore[arg-type] # whose `overall` is what they read
            fake_output=fake_output,  # type: ignore[arg-type]
            generate=lambda latents: latents,
            discriminate=lambda images: self._seen(name, images, sides[1], weights, condition),  # type: ignore[arg-type, return-value]
            discriminate_real=lambda images: self._seen(name, images, sides[0], weights, condition),  # type: ignore[arg-type, return-value]
            discriminate_fake=lambda images: self._seen(name, images, sides[1], weights, fake_condition),  # type: ignore[arg-type, return-value]
            penalty=weights.penalty,
            memory=self._remembered(name),
            logged=logged,
        )
        for one in due:
            drawn = draws.parts[f"{name}.{one.key}"].to(total.device, non_blocking=True)
            total = total + one.loss(context, drawn)
        return Loss(total, logged | {f"{name}.{key}": logged[key] for key in LOGITS})

    def adversarial(
        self, name: str, real: Tensor, fake: Tensor, draws: NamedDraws, weights: StepWeights, condition: Tensor | None = None
    ) -> tuple[Tensor, PatchOutput]:
        """The generator's loss against the discriminator `name`, and what that one sees of the generated images."""
        output = self._seen(name, fake, draws.parts[f"{name}.fake"], weights, condition)
        logits = None
        if self.objective.compares:
            with torch.no_grad():
                logits = self._seen(name, real, draws.parts[f"{name}.real"], weights, condition).logits
        return generator_loss(self.objective, logits, output.logits), output

    def seen(
        self, name: str, real: Tensor, draws: NamedDraws, weights: StepWeights, condition: Tensor | None = None
    ) -> PatchOutput:
        """What the discriminator `name` sees of real images, augmented as generated ones are in `adversarial`."""
        return self._seen(name, real, draws.parts[f"{name}.fake"], weights, condition)

    def after(self, update: Update, logged: Logged) -> None:
        """What is shown to discriminators; running means of the regularizers; clipping (Arjovsky et al. 2017, algorithm 1)."""
        if update.role != "discriminator":
            self.pools |= {name: logged[name] for name in self.shown if name in logged}
            return
        for name in update.networks:
            memory = self._remembered(name)
            for regularizer in self.regularizers:
                regularizer.remember(memory, {key: logged[f"{name}.{key}"] for key in LOGITS})
            self.memory |= {f"{name}.{key}": value for key, value in memory.items()}
        clip([self.networks[name] for name in update.networks], self.train.clip)

    def signals(self, update: Update, logged: Logged) -> dict[str, Tensor]:
        return super().signals(update, {name: values for name, values in logged.items() if name not in self.shown})

    def _remembered(self, name: str) -> dict[str, float]:
        """What regularizers remember of the discriminator `name`."""
        return {key.removeprefix(f"{name}."): value for key, value in self.memory.items() if key.startswith(f"{name}.")}

    def _seen(
        self, name: str, images: Tensor, draws: augment.Draws, weights: StepWeights, condition: Tensor | None
    ) -> PatchOutput:
        """The output for augmented images; those with gradients of their own are seen uncompiled, to be differentiated twice."""
        augmented = self.policy.apply(images, draws, weights.augment_p)
        network: nn.Module = self.networks[name]
        network.power_iteration()  # type: ignore[operator]
        if images.requires_grad and images.is_leaf:
            with differentiated_twice():
                output: PatchOutput = network(augmented, condition)
        else:
            output = self._passes[name](augmented, condition)
        return output


def summed(losses: list[Loss]) -> Loss:
    """The losses of several discriminators that learn in one update: their sum, and all that they have logged."""
    parts: dict[str, list[Tensor]] = {}
    for one in losses:
        for name, values in one.logged.items():
            parts.setdefault(name, []).append(torch.atleast_1d(values))
    logged = {name: torch.cat(values) for name, values in parts.items()}
    return Loss(torch.stack([one.total for one in losses]).sum(), logged)
