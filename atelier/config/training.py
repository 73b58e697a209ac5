"""Sections `train` and `finetune` of params.yaml."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from atelier.config.section import Beta, PositiveInt, Rate, Section, Share, Weight

REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")


class TrainSettings(Section):
    """The duel: objective, penalties, optimisers, augmentation, and what is saved, measured and watched."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        description="seed of the initial weights, latents, augmentation and the order of images"
    )
    images: PositiveInt = Field(description="real images shown to the discriminator before training ends")
    batch: PositiveInt = Field(description="images a step, over all ranks")
    accumulate: PositiveInt = Field(
        description="micro-batches a step, a divisor of batch; more of them need less memory (batch norm, in dcgan, resnet, "
        "sagan and biggan, sees each by itself)"
    )
    objective: Literal["minimax", "nonsaturating", "least_squares", "hinge", "wasserstein", "relativistic"] = Field(
        description="adversarial loss: minimax, nonsaturating, least_squares, hinge, wasserstein (needs a bound: "
        "gradient_penalty, clip or spectral norm) or relativistic"
    )
    r1: Weight = Field(description="weight gamma of the R1 penalty (on real images) at the start; 0 for none")
    r2: Weight = Field(description="weight gamma of the R2 penalty (on generated images) at the start; 0 for none")
    gradient_penalty: Weight = Field(
        description="weight of WGAN-GP's penalty (gradient norms of 1 between real and generated images) at the start, usually "
        "10; 0 for none"
    )
    dragan: Weight = Field(
        description="weight of DRAGAN's penalty (gradient norms of 1 near real images) at the start, usually 10; 0 for none"
    )
    path_length: Weight = Field(description="weight of StyleGAN2's path length penalty at the start, usually 2; 0 for none")
    penalty_final: Share = Field(description="weights of the penalties above at the end, as a share of the start (cosine)")
    penalty_every: PositiveInt = Field(
        description="steps between two computations of the penalties above, which then weigh so much more"
    )
    zcr_discriminator: Weight = Field(
        description="latent consistency (zCR), discriminator: weight of the difference of its logits on images of nearby "
        "latents, usually 5; 0 for none"
    )
    zcr_generator: Weight = Field(
        description="latent consistency (zCR), generator: weight of the mean square difference of these images, which is to be "
        "large, usually 0.5; 0 for none"
    )
    zcr_sigma: Annotated[float, Field(gt=0)] = Field(description="standard deviation of the step to a nearby latent")
    lecam: Weight = Field(
        description="weight of the LeCam regulariser (logits near the running means of the other side), for few images, usually "
        "0.3; 0 for none"
    )
    orthogonal: Weight = Field(
        description="weight of the orthogonal regularisation of the generator's weights, usually 0.0001 (biggan); 0 for none"
    )
    classification: Weight = Field(
        description="weight of the auxiliary classifier's cross-entropy (model.conditioning: auxiliary), usually 1; 0 for none"
    )
    perceptual: Weight = Field(
        description="weight of the perceptual loss: how far a pretrained network's mean features of a batch of generated images "
        "are from those of real ones; 0 for none"
    )
    perceptual_network: Literal["efficientnet_lite0", "vgg16"] = Field(description="that network: efficientnet_lite0 or vgg16")
    perceptual_weights: Annotated[str, Field(min_length=1)] = Field(
        description="its weights: packaged (efficientnet_lite0); published (fetched once, hash checked), a file, or an s3:// URI "
        "(vgg16)"
    )
    clip: Weight = Field(
        description="largest weight of the discriminator, to which all are clipped after each step (wasserstein), usually 0.01; "
        "0 for no clipping"
    )
    critic_steps: Annotated[int, Field(ge=1, le=16)] = Field(
        description="the discriminator's steps for each step of the generator, 1 ... 16; the papers of wasserstein make 5"
    )
    balance: Literal["none", "rates", "steps"] = Field(
        description="acts on who is ahead: none, rates (lowers lr_discriminator, to an eighth at most) or steps (moves "
        "critic_steps, by a factor of 8 at most), so that the discriminator is right in balance_target of pairs"
    )
    balance_target: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        description="that share (curve separation), between 0.5 (the equilibrium) and 1 (it has won)"
    )
    balance_images: PositiveInt = Field(description="images in which rate or steps are halved or doubled")
    lr_generator: Rate = Field(description="the generator's learning rate at the start")
    lr_discriminator: Rate = Field(description="the discriminator's learning rate at the start")
    lr_final: Share = Field(description="learning rates at the end, as a share of the start (cosine)")
    beta1: Beta = Field(description="Adam's beta1")
    beta2: Beta = Field(description="Adam's beta2 at the start")
    beta2_final: Beta = Field(description="Adam's beta2 at the end (cosine)")
    ema_half_life: PositiveInt = Field(description="half-life of the generator's moving average, in images")
    ema_ramp: Share = Field(description="the half-life is at most this share of the images seen so far; 0 for no ramp")
    augment: Literal["none", "diffaugment", "ada"] = Field(description="augmentation of what the discriminator sees")
    augment_p: Share = Field(description="probability of each augmentation; for ada its upper bound")
    ada_target: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="ADA: the share of positive logits on real images that is held"
    )
    ada_images: PositiveInt = Field(description="ADA: images for p to move by 1")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        description="arithmetic of the networks: float32, bfloat16 (autocast), or auto: bfloat16 where the device has it "
        "natively (a GPU of compute capability 8.0 or above, a CPU with AVX512-BF16 or AMX), else float32"
    )
    compile: bool = Field(description="torch.compile the networks; pays on a GPU and in long runs")
    checkpointing: bool = Field(
        description="compute activations again in the backward pass instead of keeping them: less memory, a quarter more time"
    )
    nodes: PositiveInt = Field(
        description="machines that train together, a divisor of batch / accumulate; more than 1 is for Kubeflow Trainer, which "
        "starts them"
    )
    save_every: PositiveInt = Field(description="images between two saves of the training state")
    log_every: PositiveInt = Field(description="images between two points of the curves")
    evaluate_every: PositiveInt = Field(description="images between two measurements of the EMA generator")
    evaluate_from: Share = Field(description="share of the run before the first measurement")
    evaluate_samples: Annotated[int, Field(ge=16)] = Field(
        description="generated images a measurement during training, at least 16"
    )
    max_grad_norm: Annotated[float, Field(gt=0)] = Field(
        description="a mean gradient norm (between two points of the curves) above it counts as divergence and stops the run"
    )
    min_diversity: Share = Field(
        description="mean pairwise distance of a fixed batch, relative to real images, under which the run has collapsed"
    )
    min_kinds: Share = Field(
        description="kinds of images in a fixed batch, relative to real images, under which the run has collapsed"
    )
    on_alarm: Literal["stop", "roll_back", "warn"] = Field(
        description="what follows on divergence, collapse or non-convergence: stop (the best checkpoint is kept), roll_back (to "
        "the best, and on at half the learning rates; three times, then stop) or warn (and go on, unless a number is "
        "not finite)"
    )

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
            raise ValueError("ada reads the sign of D's logits on real images, which minimax saturates; use nonsaturating")
        held = [key for key in ("gradient_penalty", "dragan") if getattr(self, key) > 0]
        if held and self.r1 + self.r2 > 0:
            raise ValueError(
                f"{held[0]} pulls the norms of D's gradients to 1, but r1 and r2 pull them to 0; set r1: 0.0 and r2: 0.0, or "
                f"{held[0]}: 0.0"
            )
        if self.clip > 0 and self.objective != "wasserstein":
            raise ValueError(f"clip keeps a Wasserstein critic Lipschitz, {self.objective} has none; set clip: 0.0")
        if self.clip > 0 and (held or self.r1 + self.r2 > 0):
            raise ValueError("clip and a penalty on D's gradients both hold its slope; set clip: 0.0, or the penalties to 0.0")
        if (self.perceptual_network == "efficientnet_lite0") != (self.perceptual_weights == "packaged"):
            raise ValueError(
                f"perceptual_weights {self.perceptual_weights} are not for {self.perceptual_network}: set packaged for "
                "efficientnet_lite0; published, a file or an s3:// URI for vgg16"
            )
        if self.lecam > 0 and self.objective in ("wasserstein", "relativistic"):
            raise ValueError(
                f"lecam compares D's logits with their running means, but {self.objective} leaves them free to drift together; "
                "set lecam: 0.0, or objective: nonsaturating or hinge"
            )
        return self

    @property
    def penalises_gradients(self) -> list[str]:
        """Keys of the penalties in use on the gradients of D by its images."""
        return [key for key in ("r1", "r2", "gradient_penalty", "dragan") if getattr(self, key) > 0]


class FinetuneSettings(TrainSettings):
    """The same duel on the target images, from a trained generator, its discriminator and its EMA."""

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
