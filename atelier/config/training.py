"""Sections `train` and `finetune` of params.yaml."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)

from atelier.config.metrics import choosing
from atelier.config.section import Beta, PositiveInt, Rate, Section, Share, Weight
from atelier.config.tasks import task_settings

BASE = "base"  # as finetune.init_from: the generator that this project trains from scratch
if TYPE_CHECKING:
    Chooser = str
else:
    Chooser = Literal[tuple(choosing()) or ("frechet",)]  # no metric travels with a registered model
REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")


class RegularizerSettings(Section):
    """A regularizer's settings, and what the rest has to know of it; atelier/losses/regularizers.py adds its equation.

    `key` names it in params.yaml, where a number alone is its weight. `gradient_norm` is the norm to which it pulls the
    discriminator's gradients by its images, or None. `needs` is what the networks must have (ModelSettings.offers).
    """

    short: ClassVar[str] = "weight"
    key: ClassVar[str]
    gradient_norm: ClassVar[int | None] = None
    needs: ClassVar[str] = ""

    weight: Weight

    @model_validator(mode="before")
    @classmethod
    def _number_alone(cls, values: Any) -> Any:
        return values if isinstance(values, dict | RegularizerSettings) else {cls.short: values}

    @model_serializer(mode="wrap")
    def _number_where_it_is_all(self, dump: SerializerFunctionWrapHandler) -> Any:
        values = dump(self)
        return values[self.short] if len(values) == 1 else values

    def check(self, train: TrainSettings) -> None:
        """Raises ValueError, with what to change, if it cannot be used in such a training."""


class Regularizers(Section):
    """What is added to the losses, by name; a weight of 0 is the same as absence."""

    @classmethod
    def found(cls) -> dict[str, type[Section]]:
        return dict(regularizers())

    def chosen(self) -> list[RegularizerSettings]:
        """Those that are on, in the order in which they are declared."""
        return [getattr(self, key) for key in type(self).model_fields]

    def pulling(self, norm: int) -> list[str]:
        """Keys of those that pull the norms of the discriminator's gradients by its images to this one."""
        return [one.key for one in self.chosen() if one.gradient_norm == norm]

    @model_validator(mode="wrap")
    @classmethod
    def _with_the_found(cls, values: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        if cls is not Regularizers or not isinstance(values, dict):
            return build(values)
        known = _with(frozenset(regularizers()).intersection(values)).model_validate(values)
        on = {one.key: one for one in known.chosen() if one.weight > 0}
        return cast(Self, _with(frozenset(on)).model_validate(on))


@cache
def regularizers() -> dict[str, type[RegularizerSettings]]:
    """The classes of the regularizers by their keys, in the order in which they are declared."""
    module = import_module("atelier.losses.regularizers")
    classes = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, RegularizerSettings)]
    return {one.key: one for one in classes if "key" in vars(one)}


@cache
def _with(keys: frozenset[str]) -> type[Regularizers]:
    """Regularizers with these, each of them required."""
    fields: dict[str, Any] = {key: (kind, ...) for key, kind in regularizers().items() if key in keys}
    return create_model("Regularizers", __base__=Regularizers, __doc__=Regularizers.__doc__, **fields)


class PrivacySettings(Section):
    """Differential privacy of the training images: DP-SGD on the discriminator (Abadi et al. 2016, algorithm 1).

    Each image is in a step by chance, with probability batch / images of the set. Its gradient is cut to a norm, and noise is
    added to the sum. The generator sees no image but through the discriminator.
    """

    noise: Annotated[float, Field(gt=0)] = Field(
        description="differential privacy: standard deviation of the noise on the sum of the images' gradients, in units of "
        "largest_norm (the noise multiplier)"
    )
    largest_norm: Annotated[float, Field(gt=0)] = Field(
        description="differential privacy: norm to which the gradient of each image is cut"
    )
    delta: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="differential privacy: delta, for which epsilon is stated; below 1 / images of the set"
    )

    def check(self, train: TrainSettings) -> None:
        """Raises ValueError for what sees real images beside the gradients that are accounted for, or mixes those of several."""
        refused = {
            f"objective: {train.objective} shows real images to the generator; set nonsaturating or hinge": (
                train.objective.startswith("relativistic")
            ),
            "regularizers are not computed image by image; set regularizers: {}": bool(train.regularizers.chosen()),
            "augment: ada follows real images; set augment: diffaugment or none": train.augment == "ada",
            "balance follows real images; set balance: none": train.balance != "none",
            "on_alarm: roll_back follows real images; set on_alarm: stop": train.on_alarm == "roll_back",
            "choosing among saves by real images is not accounted for; set evaluate_from: 1.0": train.evaluate_from < 1,
            "several machines are not supported; set nodes: 1": train.nodes > 1,
            "gradients of single images are not compiled; set compile: false": train.compile,
            "gradients of single images are not computed again; set checkpointing: false": train.checkpointing,
        }
        for why, is_so in refused.items():
            if is_so:
                raise ValueError(f"privacy: {why}, or take privacy out")


class TrainSettings(Section):
    """Training: objective, penalties, optimizers, augmentation, and what is saved, measured and watched.

    A key has a default if it counts only where another one chooses it, or says how a step is computed rather than what it is.
    What a task alone has to be told is in a section of its name.
    """

    data: str | Annotated[dict[str, str], Field(min_length=1)] = Field(
        description="set of images, by its name in section data; of a task that learns from several sets which is which "
        "({a: horses, b: zebras})"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        description="seed of the initial weights, latents, augmentation and the order of images"
    )
    images: PositiveInt = Field(description="real images shown to the discriminator before training ends")
    batch: PositiveInt = Field(description="images a step, over all ranks")
    accumulate: PositiveInt = Field(
        default=1,
        description="micro-batches a step, a divisor of batch; more of them need less memory (batch norm, in the "
        "architectures that have it, and the means of relativistic_average are of each by itself)",
    )
    objective: Literal[
        "minimax",
        "nonsaturating",
        "least_squares",
        "least_squares_binary",
        "hinge",
        "wasserstein",
        "relativistic",
        "relativistic_average",
    ] = Field(
        description="adversarial loss: minimax, nonsaturating, least_squares (labels -1 and 1), least_squares_binary (0 and 1), "
        "hinge, wasserstein (needs a bound: gradient_penalty, clip or spectral norm), relativistic (in pairs of images) or "
        "relativistic_average (each against the mean of the others, ESRGAN)"
    )
    regularizers: SerializeAsAny[Regularizers] = Field(
        description="what is added to the losses, by name with its weight; absent means off"
    )
    penalty_final: Share = Field(
        description="weights of r1, r2 (approximate or not), gradient_penalty, dragan and path_length at the end, as a share "
        "of the start (cosine)"
    )
    penalty_every: PositiveInt = Field(
        description="steps between two computations of these penalties, which then weigh so much more"
    )
    privacy: PrivacySettings | None = None
    clip: Weight = Field(
        default=0.0,
        description="largest weight of the discriminator, to which all are clipped after each step (wasserstein), usually 0.01; "
        "0 for no clipping",
    )
    critic_steps: Annotated[int, Field(ge=1, le=16)] = Field(
        description="the discriminator's steps for each step of the generator, 1 ... 16; the papers of wasserstein make 5"
    )
    balance: Literal["none", "rates", "steps"] = Field(
        description="acts on who is ahead: none, rates (lowers lr_discriminator, to an eighth at most) or steps (moves "
        "critic_steps, by a factor of 8 at most), so that the discriminator is right in balance_target of pairs"
    )
    balance_target: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        default=0.85, description="that share (curve auc_real_fake), between 0.5 (the equilibrium) and 1 (it has won)"
    )
    balance_images: PositiveInt = Field(default=20000, description="images in which rate or steps are halved or doubled")
    lr_generator: Rate = Field(description="the generator's learning rate at the start")
    lr_discriminator: Rate = Field(description="the discriminator's learning rate at the start")
    lr_final: Share = Field(description="learning rates at the end, as a share of the start (cosine)")
    beta1: Beta = Field(description="Adam's beta1")
    beta2: Beta = Field(description="Adam's beta2 at the start")
    beta2_final: Beta = Field(description="Adam's beta2 at the end (cosine)")
    ema_half_life: PositiveInt = Field(description="half-life of the generator's moving average, in images")
    ema_ramp: Share = Field(description="the half-life is at most this share of the images seen so far; 0 for no ramp")
    augment: Literal["none", "diffaugment", "ada"] = Field(description="augmentation of what the discriminator sees")
    augment_policy: Annotated[list[Literal["color", "translation", "cutout"]], Field(min_length=1)] = Field(
        default=["color", "translation", "cutout"],
        description="diffaugment: what it changes (the authors' policy); without color the discriminator sees colors as they are",
    )
    augment_p: Share = Field(default=0.3, description="probability of each augmentation; for ada its upper bound")
    ada_target: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.6, description="ADA: the share of positive logits on real images that is held"
    )
    ada_images: PositiveInt = Field(default=100000, description="ADA: images for p to move by 1")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        description="arithmetic of the networks: float32, bfloat16 (autocast), or auto: bfloat16 where the device has it "
        "natively (a GPU of compute capability 8.0 or above, a CPU with AVX512-BF16 or AMX), else float32"
    )
    compile: bool = Field(default=False, description="torch.compile the networks; pays on a GPU and in long runs")
    checkpointing: bool = Field(
        default=False,
        description="compute activations again in the backward pass instead of keeping them: less memory, a quarter more time",
    )
    nodes: PositiveInt = Field(
        default=1,
        description="machines that train together, a divisor of batch / accumulate; more than 1 is for Kubeflow Trainer, which "
        "starts them",
    )
    save_every: PositiveInt = Field(description="images between two saves of the training state")
    log_every: PositiveInt = Field(description="images between two points of the curves")
    evaluate_every: PositiveInt = Field(description="images between two measurements of the EMA generator")
    evaluate_from: Share = Field(description="share of the run before the first measurement")
    evaluate_samples: Annotated[int, Field(ge=16)] = Field(
        description="generated images a measurement during training, at least 16"
    )
    evaluate_by: Chooser = Field(
        default="frechet",
        description="number by which a measurement during training chooses the best save, on the images of which the distance is "
        "measured, too; what holds images to a target (psnr, ssim, l1, perceptual, lpips) is for tasks that have one",
    )
    max_grad_norm: Annotated[float, Field(gt=0)] = Field(
        description="a mean gradient norm (between two points of the curves) above it counts as divergence and stops the run"
    )
    min_diversity: Share = Field(
        description="mean pairwise distance of a fixed batch, relative to real images, under which the run has collapsed"
    )
    min_mode_coverage: Share = Field(
        description="effective number of modes in a fixed batch, relative to real images, under which the run has collapsed"
    )
    on_alarm: Literal["stop", "roll_back", "warn"] = Field(
        description="what follows on divergence, collapse or non-convergence: stop (the best checkpoint is kept), roll_back (to "
        "the best, and on at half the learning rates; three times, then stop) or warn (and go on, unless a number is "
        "not finite)"
    )

    @classmethod
    def found(cls) -> dict[str, type[Section]]:
        return task_settings()

    @model_validator(mode="wrap")
    @classmethod
    def _with_the_tasks(cls, values: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        if cls not in (TrainSettings, FinetuneSettings) or not isinstance(values, dict):
            return build(values)
        names = frozenset(task_settings()).intersection(values)
        return cast(Self, _of_tasks(cls, names).model_validate(values)) if names else build(values)

    def of_task(self, name: str) -> Any:
        """The section of a task: as it is written, else its defaults."""
        return getattr(self, name, None) or task_settings()[name]()

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        if self.batch % self.accumulate:
            raise ValueError(
                f"batch {self.batch} cannot be cut into accumulate = {self.accumulate} equal parts; "
                f"choose accumulate among the divisors of {self.batch}"
            )
        if self.batch // self.accumulate % self.nodes:
            raise ValueError(
                f"batch / accumulate = {self.batch // self.accumulate} cannot be shared by nodes = {self.nodes} machines; "
                "choose a batch that can"
            )
        if self.compile and self.checkpointing:
            raise ValueError("compile chooses by itself what it computes again; set checkpointing: false, or compile: false")
        if self.images < self.batch:
            raise ValueError(f"images {self.images} is less than one batch of {self.batch}; raise images or lower batch")
        if self.log_every < (most := self.batch * self.critic_steps * (8 if self.balance == "steps" else 1)):
            raise ValueError(
                f"log_every {self.log_every} may hold no step of the generator (batch x critic_steps, up to 8 times as many with "
                f"balance: steps); set log_every to at least {most}"
            )
        if self.augment == "ada" and self.objective == "minimax":
            raise ValueError("ada reads the sign of the logits on real images, which minimax saturates; use nonsaturating")
        for one in self.regularizers.chosen():
            one.check(self)
        if self.privacy:
            self.privacy.check(self)
        to_one, to_zero = (self.regularizers.pulling(norm) for norm in (1, 0))
        if to_one and to_zero:
            raise ValueError(
                f"{to_one[0]} pulls the discriminator's gradient norms to 1, but {' and '.join(to_zero)} to 0; take one or the "
                "other out of regularizers"
            )
        if self.clip > 0 and self.objective != "wasserstein":
            raise ValueError(f"clip keeps a Wasserstein critic Lipschitz, {self.objective} has none; set clip: 0.0")
        if self.clip > 0 and self.penalizes_gradients:
            raise ValueError(
                f"clip and a penalty on the discriminator's gradients both hold its slope; set clip: 0.0, or take "
                f"{' and '.join(self.penalizes_gradients)} out of regularizers"
            )
        return self

    @property
    def sets(self) -> dict[str, str]:
        """Names of the sets by what the task calls them; "data" where there is one."""
        return self.data if isinstance(self.data, dict) else {"data": self.data}

    @property
    def averages(self) -> bool:
        """Whether the objective reads means over a micro-batch, so that another number of these changes more than rounding."""
        return self.objective == "relativistic_average"

    @property
    def penalizes_gradients(self) -> list[str]:
        """Keys of the penalties in use on the discriminator's gradients by its images."""
        return self.regularizers.pulling(0) + self.regularizers.pulling(1)


class FinetuneSettings(TrainSettings):
    """The same on other images, from a trained generator, its discriminator and its EMA."""

    init_from: Annotated[str, Field(min_length=1)] = Field(
        description="base (the generator of this pipeline), a checkpoint folder, or models:/NAME@ALIAS or models:/NAME/VERSION "
        "of the registry"
    )
    freeze_discriminator: Annotated[int, Field(ge=0)] = Field(
        description="FreezeD: stages of the discriminator, from the image side, that are not trained"
    )

    @field_validator("init_from")
    @classmethod
    def _whole_uri(cls, where: str) -> str:
        if where.startswith("models:/") and not REGISTERED.fullmatch(where):
            raise ValueError(f"{where} names no version; write models:/NAME@ALIAS or models:/NAME/VERSION")
        return where


@cache
def _of_tasks(kind: type[TrainSettings], names: frozenset[str]) -> type[TrainSettings]:
    """TrainSettings or FinetuneSettings with the sections of these tasks."""
    sections: dict[str, Any] = {name: (task_settings()[name], ...) for name in sorted(names)}
    return create_model(kind.__name__, __base__=kind, __doc__=kind.__doc__, **sections)
