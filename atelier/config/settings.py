"""params.yaml -> typed settings.

Every key is declared in the class of its section with its type, its bounds and the sentence that explains it; nothing else is
accepted. An error names the key's path, what was found and what is allowed.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SerializeAsAny, model_validator
from ruamel.yaml import YAML, YAMLError

from atelier.config.cluster import ClusterSettings
from atelier.config.data import DataSettings
from atelier.config.detection import DetectSettings
from atelier.config.evaluation import EvaluateSettings
from atelier.config.metrics import LABELED, deciding, limits, metrics
from atelier.config.model import AUXILIARY, TASK, ModelSettings
from atelier.config.registry import GateSettings, ProductSettings, RegistrySettings
from atelier.config.section import NAME as ENTRY
from atelier.config.section import Name, Section, SettingsError, below, fields, parse, replaced
from atelier.config.tasks import task_settings
from atelier.config.training import FinetuneSettings, TrainSettings


class Settings(Section):
    """The whole of params.yaml. A project without `finetune` trains from scratch alone."""

    data: Annotated[dict[Name, DataSettings], Field(min_length=1)]
    model: SerializeAsAny[ModelSettings]
    train: SerializeAsAny[TrainSettings]
    finetune: SerializeAsAny[FinetuneSettings | None] = None
    evaluate: EvaluateSettings
    registry: RegistrySettings
    products: Annotated[dict[Name, ProductSettings], Field(min_length=1)]
    gate: GateSettings
    detect: DetectSettings | None = None

    @property
    def trainings(self) -> dict[str, TrainSettings]:
        """The sections by which it is trained."""
        return {"train": self.train, **({"finetune": self.finetune} if self.finetune else {})}

    def measured_on(self, product: str) -> str:
        """Name of the set that a product is measured against."""
        one = self.products[product]
        return one.data or next(iter(self.trainings[one.trained_by].sets.values()))

    def named(self) -> dict[str, Section]:
        """Every section by its name; one with an entry for each name is its entries ("data.base")."""
        found: dict[str, Section] = {}
        for name, value in self:
            found |= {f"{name}.{entry}": one for entry, one in value.items()} if isinstance(value, dict) else {name: value}
        return {name: value for name, value in found.items() if value is not None}

    @model_validator(mode="before")
    @classmethod
    def _with_defaults_of_the_task(cls, values: Any) -> Any:
        """The section of the task stands in each training, so that what a result depends on is written with it."""
        model = values.get("model") if isinstance(values, dict) else None
        task = model.get("task", TASK) if isinstance(model, dict) else None
        if task not in task_settings():
            return values
        trainings = {name: values[name] for name in ("train", "finetune") if isinstance(values.get(name), dict)}
        return values | {name: {task: {}} | training for name, training in trainings.items()}

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        for name, training in self.trainings.items():
            for other in task_settings().keys() & type(training).model_fields.keys() - {self.model.task}:
                raise ValueError(f"{name}.{other} is for task {other}, but model.task is {self.model.task}; take it out")
            self._check_sets(name, training)
            self._check_training(name, training)
        used = {name: self.data[name] for training in self.trainings.values() for name in training.sets.values()}
        for name, data in used.items():
            if self.model.conditional and not data.labels:
                raise ValueError(f"model.conditional needs labels; set data.{name}.labels: true, or model.conditional: false")
            self.model.family.check(data.resolution)
        self._check_products()
        for name, changes in self.detect.generators.items() if self.detect else ():
            self._check_generator(name, changes)
        for needed, why, otherwise in self._measured_for_gate():
            if needed not in self.evaluate.metrics:
                raise ValueError(f"{why} needs {needed} among evaluate.metrics; add it there, or set {otherwise}")
        return self

    def _check_generator(self, name: str, changes: list[str]) -> None:
        """Refuses a generator of section detect that could not be trained. Raises SettingsError, ValueError."""
        values = {key: one for key, one in self.plain().items() if key in Settings.model_fields and key != "detect"}
        where = f"detect.generators.{name}"
        one = parse(changed(values, changes, where), Settings, origin=where)
        if one.train.sets != self.train.sets or one.model.task != self.model.task or one.train.nodes > 1:
            raise ValueError(f"{where}: changes model.task or train.data, or has several nodes; take that out")

    def _check_sets(self, section: str, training: TrainSettings) -> None:
        """Refuses sets that there are not, and those of fine-tuning that the networks were not made for. Raises ValueError."""
        if {*training.sets} != {*self.train.sets}:
            here, there = (", ".join(one.sets) if isinstance(one.data, dict) else "one set" for one in (training, self.train))
            raise ValueError(f"{section}.data names {here}, but train.data {there}; name the same kinds of sets in both")
        for role, name in training.sets.items():
            if name not in self.data:
                raise ValueError(f"{section}.data is {name}, but section data has {', '.join(self.data)}; name one of these")
            first = self.train.sets[role]
            for key in ("resolution", "channels"):
                here, there = getattr(self.data[name], key), getattr(self.data[first], key)
                if here != there:
                    raise ValueError(
                        f"data.{name}.{key} is {here} but data.{first}.{key} is {there}; fine-tuning keeps the networks: "
                        "set both alike"
                    )

    def _check_products(self) -> None:
        """Refuses products that nothing trains, two of one name, and metrics that need labels. Raises ValueError."""
        registered: dict[str, str] = {}
        for key, product in self.products.items():
            if product.trained_by not in self.trainings:
                raise ValueError(
                    f"products.{key}.trained_by is finetune, but there is no section finetune; add it, or take {key} out"
                )
            if product.name in registered:
                raise ValueError(
                    f"products.{key} and products.{registered[product.name]} are both {product.name}; give each a name of its own"
                )
            registered[product.name] = key
            if product.data is None and len(self.trainings[product.trained_by].sets) > 1:
                raise ValueError(f"products.{key}.data is missing, and {product.trained_by}.data names several sets; say which")
            if product.inputs is not None and product.inputs not in self.data:
                raise ValueError(
                    f"products.{key}.inputs is {product.inputs}, but section data has {', '.join(self.data)}; name one of these"
                )
            if (measured := self.measured_on(key)) not in self.data:
                raise ValueError(
                    f"products.{key}.data is {measured}, but section data has {', '.join(self.data)}; name one of these"
                )
            for name in self.evaluate.metrics:
                if metrics()[name].needs & LABELED and not self.data[measured].labels:
                    raise ValueError(
                        f"evaluate.metrics: {name} needs labels; set data.{measured}.labels: true, or {metrics()[name].removal}"
                    )

    def _check_training(self, name: str, train: TrainSettings) -> None:
        """Refuses what the family and the regularisers cannot do together. Raises ValueError."""
        model, penalised = self.model, train.penalizes_gradients
        model.family.check_training(name, train)
        if train.clip > 0 and model.family.spectral_norm:
            raise ValueError(
                f"{name}.clip bounds weights that {model.architecture} divides by their spectral norm; set {name}.clip: 0.0"
            )
        if train.objective == "wasserstein" and not (train.clip > 0 or penalised or model.family.spectral_norm):
            raise ValueError(
                f"{name}.objective: wasserstein has no bound unless D's slope has one; set "
                f"{name}.regularizers.gradient_penalty: 10.0 (WGAN-GP) or {name}.clip: 0.01, or take a family with spectral norm"
            )
        for one in train.regularizers.chosen():
            if one.needs and one.needs not in model.offers:
                remedy = "choose model.conditioning: auxiliary" if one.needs == AUXILIARY else "choose a family that has it"
                raise ValueError(
                    f"{name}.regularizers.{one.key} needs {one.needs}, which {model.architecture} with conditioning "
                    f"{model.conditioning} has not; take it out, or {remedy}"
                )
        if AUXILIARY in model.offers and AUXILIARY not in {one.needs for one in train.regularizers.chosen()}:
            raise ValueError(
                f"model.conditioning: auxiliary learns the labels by a regularizer alone; set "
                f"{name}.regularizers.classification: 1.0"
            )

    def _measured_for_gate(self) -> Iterator[tuple[str, str, str]]:
        """What has to be among evaluate.metrics, the setting of the gate that wants it, and one that does not."""
        gate, kinds = self.gate, deciding()
        others = ", or ".join(f"gate.primary: {kind}" for kind in kinds if kind != gate.primary)
        yield kinds[gate.primary], f"gate.primary: {gate.primary}", others
        for metric, value in limits():
            if gate.limit(value) != value.open_limit:
                side = "above" if value.is_floor else "below"
                unlimited = f"{value.open_limit:g}"
                yield metric.name, f"gate.{value.limit} {side} {unlimited}", f"gate.{value.limit}: {value.open_limit}"


SECTIONS: dict[str, type[Section]] = {name: below(field.annotation)[0] for name, field in Settings.model_fields.items()}  # type: ignore[misc]
CHANGED = ("model.", "train.")  # what generators of section detect may differ in
# Those with an entry for each name.
NAMED = frozenset(name for name, field in Settings.model_fields.items() if below(field.annotation)[1])


def nested(sections: Mapping[str, Any]) -> dict[str, Any]:
    """What `named` has taken apart: entries below the section that they are of."""
    found: dict[str, Any] = {}
    for name, value in sections.items():
        section, _, entry = name.partition(".")
        if entry:
            found.setdefault(section, {})[entry] = value
        else:
            found[section] = value
    return found


def fingerprint(value: Any) -> str:
    """sha256 of canonical JSON (sorted keys, no spaces), in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def load(path: Path | str = "params.yaml", overrides: list[str] | None = None) -> Settings:
    """Reads and validates params.yaml. `overrides` are "section.key=value" strings, read as YAML.

    Raises SettingsError naming file, key and what is allowed.
    """
    values = read(path)
    for override in overrides or []:
        values = overridden(values, override)
    if isinstance(values, dict) and "cluster" in values:
        raise SettingsError(f"{path}: cluster has a file of its own; move what is below it to cluster.yaml, beside this file")
    if isinstance(values, dict) and "target" in values:
        raise SettingsError(
            f"{path}: sets of images have names now; move what is below data to data.base and what is below target to "
            "data.target, set train.data: base and finetune.data: target, and name the generators in section products "
            "(git show HEAD:params.yaml)"
        )
    return parse(values, Settings, origin=str(path))


def read(path: Path | str) -> Any:
    """The plain values of a YAML file. Raises SettingsError."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read ({error.strerror}); run it in the folder of a project, or say where that is"
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 text ({error}); save it as UTF-8") from error
    return _yaml(text, str(path))


def as_yaml(values: Any) -> str:
    """Plain values as YAML, in their order."""
    writer, stream = YAML(typ="safe", pure=True), io.StringIO()
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.dump(values, stream)
    return stream.getvalue()


def _yaml(text: str, origin: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(io.StringIO(text))
    except YAMLError as error:
        raise SettingsError(f"{origin}: not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise SettingsError(f"{origin}: not valid YAML: nested too deeply") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # of a date without a meaning, of odd marks, keys, tags
        raise SettingsError(f"{origin}: not valid YAML ({type(error).__name__}: {error}); write it as git shows it") from error


def overridden(values: Any, override: str) -> Any:
    """`values` with what a "section.key=value" string says. Raises SettingsError."""
    key, found, text = override.partition("=")
    if not found:
        raise SettingsError(f"--set {override}: write section.key=value, for example train.seed=1")
    path = key.strip().split(".")
    # A colour is no comment here.
    value = text.strip() if text.strip().startswith("#") else _yaml(text, f"--set {override}")
    if isinstance(value, int | float) and not isinstance(value, bool) and _takes_text(path):
        value = text.strip()
    try:
        return replaced(values, path, value)
    except KeyError:
        raise SettingsError(f"--set {override}: params.yaml has no section {key.strip().rpartition('.')[0]!r}") from None


def changed(values: Mapping[str, Any], changes: Sequence[str], where: str) -> Any:
    """`values` with what "section.key=value" strings say of sections model and train. Raises SettingsError."""
    made: Any = values
    for one in changes:
        if not one.startswith(CHANGED):
            raise SettingsError(f"{where}: {one} is neither of model nor of train; write such as train.seed=1")
        made = overridden(made, one)
    return made


def _takes_text(path: list[str]) -> bool:
    """Whether a key takes text and nothing else, so that a number on a command line is its text."""
    declared = [*fields(Settings), *fields(ClusterSettings, "cluster.")]
    texts = [key.split(".") for key, field in declared if field.annotation is str]
    return any(len(key) == len(path) and all(part in (own, ENTRY) for part, own in zip(key, path, strict=True)) for key in texts)
