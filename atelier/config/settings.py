"""params.yaml -> typed settings.

Every key is declared here with its type and its bounds; nothing else is accepted. An error names the key's path, what was
found and what is allowed. The sentence that explains a key to people is its comment in params.yaml, and only there.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from ruamel.yaml import YAML, YAMLError

from atelier.config.data import DataSettings
from atelier.config.model import ModelSettings
from atelier.config.section import Beta, PositiveInt, Rate, Section, SettingsError, Share, Weight, parse

REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")
Extractor = Literal["efficientnet_lite0", "inception", "dinov2", "onnx"]
Layer = Literal["default", "64", "192", "768", "2048"]
Metric = Literal[
    "frechet", "kernel", "prdc", "memorised", "classifier", "frechet_infinity", "per_class", "inception_score", "path_length"
]


class TrainSettings(Section):
    """The duel: objective, penalties, optimisers, augmentation, and what is saved, measured and watched."""

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    images: PositiveInt
    batch: PositiveInt
    accumulate: PositiveInt
    objective: Literal["minimax", "nonsaturating", "least_squares", "hinge", "wasserstein", "relativistic"]
    r1: Weight
    r2: Weight
    gradient_penalty: Weight
    dragan: Weight
    path_length: Weight
    penalty_final: Share
    penalty_every: PositiveInt
    zcr_discriminator: Weight
    zcr_generator: Weight
    zcr_sigma: Annotated[float, Field(gt=0)]
    lecam: Weight
    orthogonal: Weight
    classification: Weight
    perceptual: Weight
    perceptual_network: Literal["efficientnet_lite0", "vgg16"]
    perceptual_weights: Annotated[str, Field(min_length=1)]
    clip: Weight
    critic_steps: Annotated[int, Field(ge=1, le=16)]
    balance: Literal["none", "rates", "steps"]
    balance_target: Annotated[float, Field(gt=0.5, lt=1)]
    balance_images: PositiveInt
    lr_generator: Rate
    lr_discriminator: Rate
    lr_final: Share
    beta1: Beta
    beta2: Beta
    beta2_final: Beta
    ema_half_life: PositiveInt
    ema_ramp: Share
    augment: Literal["none", "diffaugment", "ada"]
    augment_p: Share
    ada_target: Annotated[float, Field(gt=0, lt=1)]
    ada_images: PositiveInt
    precision: Literal["auto", "float32", "bfloat16"]
    compile: bool
    checkpointing: bool
    nodes: PositiveInt
    save_every: PositiveInt
    log_every: PositiveInt
    evaluate_every: PositiveInt
    evaluate_from: Share
    evaluate_samples: Annotated[int, Field(ge=16)]
    max_grad_norm: Annotated[float, Field(gt=0)]
    min_diversity: Share
    min_kinds: Share
    on_alarm: Literal["stop", "roll_back", "warn"]

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

    init_from: Annotated[str, Field(min_length=1)]
    freeze_discriminator: Annotated[int, Field(ge=0)]

    @field_validator("init_from")
    @classmethod
    def _whole_uri(cls, where: str) -> str:
        if where.startswith("models:/") and not REGISTERED.fullmatch(where):
            raise ValueError(f"{where} names no version; write models:/NAME@ALIAS or models:/NAME/VERSION")
        return where


class EvaluateSettings(Section):
    """What is measured, with which eyes."""

    extractor: Extractor
    weights: Annotated[str, Field(min_length=1)]
    layer: Layer
    metrics: Annotated[list[Metric], Field(min_length=1)]
    samples: Annotated[int, Field(ge=16)]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    batch: PositiveInt
    max_distance: Annotated[float, Field(gt=0)]
    min_class_share: Share

    @field_validator("metrics")
    @classmethod
    def _once(cls, metrics: list[Metric]) -> list[Metric]:
        if len(set(metrics)) < len(metrics):
            raise ValueError(f"{metrics} names one twice; name each once")
        return metrics

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if self.extractor == "efficientnet_lite0" and self.weights != "packaged":
            raise ValueError(f"weights {self.weights} are not for efficientnet_lite0, which has its own: set packaged")
        if self.extractor == "inception" and self.weights == "packaged":
            raise ValueError("weights packaged are not for inception: set published (fetched once), a file or an s3:// URI")
        if self.extractor in ("dinov2", "onnx") and self.weights in ("packaged", "published"):
            raise ValueError(f"weights {self.weights} are not for {self.extractor}: set the path of the file, or its s3:// URI")
        if self.extractor != "inception" and self.layer != "default":
            raise ValueError(f"layer {self.layer} is one of inception's, and extractor is {self.extractor}: set layer: default")
        if "inception_score" in self.metrics and (self.extractor in ("dinov2", "onnx") or self.layer not in ("default", "2048")):
            raise ValueError(
                "metrics: inception_score needs a network with classes after its last layer: set extractor inception with "
                "layer default, or efficientnet_lite0 (whose score is named after it), or leave it out"
            )
        return self


class RegistrySettings(Section):
    """Names under which runs and generators are kept in MLflow."""

    experiment: Annotated[str, Field(min_length=1)]
    base: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    finetuned: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]

    @model_validator(mode="after")
    def _two_names(self) -> Self:
        if self.base == self.finetuned:
            raise ValueError(f"base and finetuned are both {self.base}; give each generator a name of its own")
        return self


class GateSettings(Section):
    """Who becomes champion in the registry."""

    primary: Literal["frechet", "kernel"]
    min_delta: Weight
    min_coverage: Share
    min_recall: Share
    min_class_share: Share
    max_memorised: Share


class ClusterSettings(Section):
    """Where Kubeflow places the tasks. Amounts are texts, since Kubeflow takes no number for them from a run's form."""

    accelerator: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")]
    accelerators: Annotated[str, Field(pattern=r"^[0-9]+$")]
    cpu: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+|m)?$")]
    memory: Annotated[str, Field(pattern=r"^[0-9]+([KMGT]i?)?$")]
    node_selector: Annotated[dict[str, str], Field(min_length=1)]
    tolerations: Annotated[list[dict[str, str | int]], Field(min_length=1)]
    secret: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
    states: Annotated[str, Field(pattern=r"^(none|s3://[^/]+(/.*)?)$")]


class Settings(Section):
    """The whole of params.yaml."""

    data: DataSettings
    target: DataSettings
    model: ModelSettings
    train: TrainSettings
    finetune: FinetuneSettings
    evaluate: EvaluateSettings
    registry: RegistrySettings
    gate: GateSettings
    cluster: ClusterSettings

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        for key in ("resolution", "channels"):
            base, target = getattr(self.data, key), getattr(self.target, key)
            if base != target:
                raise ValueError(
                    f"target.{key} is {target} but data.{key} is {base}; fine-tuning keeps the networks: set both alike"
                )
        for name in ("train", "finetune"):
            self._check_duel(name, getattr(self, name))
        if self.model.conditional and not (self.data.labels and self.target.labels):
            raise ValueError("model.conditional needs labels; set data.labels and target.labels, or model.conditional: false")
        if "classifier" in self.evaluate.metrics and not (self.data.labels and self.target.labels):
            raise ValueError("evaluate.metrics: classifier needs labels; set data.labels and target.labels, or leave it out")
        for needed, why in self._measured_for_gate().items():
            if needed not in self.evaluate.metrics:
                raise ValueError(f"{why} needs {needed} among evaluate.metrics; add it there, or set it to what asks for nothing")
        self.model.check(self.data.resolution)
        return self

    def _check_duel(self, name: str, duel: TrainSettings) -> None:
        """Refuses what the family and the regularisers cannot do together. Raises ValueError."""
        model, penalised = self.model, duel.penalises_gradients
        if model.architecture == "dcgan" and model.dcgan.batch_norm and penalised:
            off = " and ".join(f"{name}.{key}: 0.0" for key in penalised)
            raise ValueError(
                f"model.dcgan.batch_norm ties an image's logit to its whole batch, so {' and '.join(penalised)} of {name} "
                f"have no gradient of a single image to penalise; set batch_norm: false, or {off}"
            )
        if duel.clip > 0 and model.spectral_norm:
            raise ValueError(
                f"{name}.clip bounds weights that {model.architecture} divides by their spectral norm; set {name}.clip: 0.0"
            )
        if duel.objective == "wasserstein" and not (duel.clip > 0 or penalised or model.spectral_norm):
            raise ValueError(
                f"{name}.objective: wasserstein has no bound unless D's slope has one; set {name}.gradient_penalty: 10.0 "
                f"(WGAN-GP) or {name}.clip: 0.01, or choose a family with spectral norm"
            )
        if model.architecture in ("progan", "stylegan2"):
            group = getattr(model, model.architecture).group
            share = duel.batch // duel.accumulate // duel.nodes
            if group < 2:
                raise ValueError(f"model.{model.architecture}.group: one image alone has no standard deviation; set 2 or more")
            if share % group:
                raise ValueError(
                    f"{name}: each node sees {share} images at once (batch / accumulate / nodes), which are no whole groups of "
                    f"model.{model.architecture}.group = {group} images; choose a batch or a group that fits"
                )
        if duel.path_length > 0 and model.architecture != "stylegan2":
            raise ValueError(f"{name}.path_length is for the styles of stylegan2, {model.architecture} has none; set it to 0.0")
        auxiliary = model.conditional and model.conditioning == "auxiliary"
        if auxiliary and duel.classification == 0:
            raise ValueError(f"model.conditioning: auxiliary learns the labels by {name}.classification alone; set it to 1.0")
        if not auxiliary and duel.classification > 0:
            raise ValueError(f"{name}.classification needs model.conditional and model.conditioning: auxiliary; set it to 0.0")

    def _measured_for_gate(self) -> dict[Metric, str]:
        """What has to be among evaluate.metrics, and the key of the gate that wants it."""
        gate = self.gate
        wanted: list[tuple[Metric, str]] = [(gate.primary, f"gate.primary: {gate.primary}")]
        wanted += [("prdc", f"gate.{key} above 0") for key in ("min_coverage", "min_recall") if getattr(gate, key) > 0]
        wanted += [("classifier", "gate.min_class_share above 0")] if gate.min_class_share > 0 else []
        wanted += [("memorised", "gate.max_memorised below 1")] if gate.max_memorised < 1 else []
        return dict(wanted)


SECTIONS: dict[str, type[Section]] = {name: field.annotation for name, field in Settings.model_fields.items()}  # type: ignore[misc]


def fingerprint(value: Any) -> str:
    """sha256 of canonical JSON (sorted keys, no spaces), in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def load(path: Path | str = "params.yaml", overrides: list[str] | None = None) -> Settings:
    """Reads and validates params.yaml. `overrides` are "section.key=value" strings, read as YAML.

    Raises SettingsError naming file, key and what is allowed.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); run in the repository or give --params") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 text ({error}); save it as UTF-8") from error
    values = _yaml(text, str(path))
    for override in overrides or []:
        _override(values, override)
    return parse(values, Settings, origin=str(path))


def _yaml(text: str, origin: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(io.StringIO(text))
    except YAMLError as error:
        raise SettingsError(f"{origin}: not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise SettingsError(f"{origin}: not valid YAML: nested too deeply") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # of a date without a meaning, of odd marks, keys, tags
        raise SettingsError(f"{origin}: not valid YAML ({type(error).__name__}: {error}); write it as git shows it") from error


def _override(values: Any, override: str) -> None:
    key, found, text = override.partition("=")
    if not found:
        raise SettingsError(f"--set {override}: write section.key=value, for example train.seed=1")
    *parents, leaf = key.strip().split(".")
    for part in parents:
        values = values.get(part) if isinstance(values, dict) else None
    if not isinstance(values, dict):
        raise SettingsError(f"--set {override}: params.yaml has no section {'.'.join(parents)!r}")
    # A colour is no comment here.
    values[leaf] = text.strip() if text.strip().startswith("#") else _yaml(text, f"--set {override}")
