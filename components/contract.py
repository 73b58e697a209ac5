"""The contract of a component: one typed signature from which its command line and its task on a cluster follow.

    @component(reads={"settings": "train|finetune", "experiment": "registry.experiment"}, computes=True, retries=10)
    def train(settings: TrainSettings, experiment: str, data: Annotated[In[Dataset], "the packed images"], output: Out[Model]) ...

`reads` says for each parameter that comes from params.yaml what it is there: a section ("train"), one of several, which the
argument `section` chooses ("train|finetune"), some keys of a section ("evaluate.seed,batch"), a single value
("registry.experiment"), or all of it ("*"). A task of a cluster may read "cluster" beside it, a file of its own. In and Out mark
folders that components hand to each other. Of the other parameters those with a help text are options of the command line; the
rest is for callers in Python.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from atelier.config.reference import DESCRIBED
from atelier.config.section import parse
from atelier.config.settings import SECTIONS, Settings
from atelier.io.workspace import lasting

P = ParamSpec("P")
R = TypeVar("R")
Kind = TypeVar("Kind")
ORIGIN = "the run's parameters"


class Direction(Enum):
    """Whether a component reads a folder or writes it."""

    IN, OUT = "in", "out"


@dataclass(frozen=True)
class Artifact:
    """What a folder holds: the name that it has as an output, and its type in a list of artifacts."""

    name: str
    type: str


Fetched = Annotated[Path, Artifact("fetched", "Dataset")]
Part = Annotated[Path, Artifact("processed", "Dataset")]
Dataset = Annotated[Path, Artifact("images", "Dataset")]
Model = Annotated[Path, Artifact("checkpoint", "Model")]
Images = Annotated[Path, Artifact("pictures", "Artifact")]
Evaluation = Annotated[Path, Artifact("evaluation", "Artifact")]
Registration = Annotated[Path, Artifact("registration", "Artifact")]
In = Annotated[Kind, Direction.IN]
Out = Annotated[Kind, Direction.OUT]


@dataclass(frozen=True)
class Option:
    """How a parameter looks on the command line, where its name and default in Python do not say it."""

    help: str
    metavar: str | None = None
    flag: str | None = None
    default: Callable[[], Any] | None = None


CACHE = Option("default: cache", default=lambda: lasting(Path("cache")))
STEP = Option("name of the MLflow run (default: that of the section)", metavar="NAME", flag="--stage")
DEVICE = Option("auto (default: the GPU where there is one), cpu or cuda")


@dataclass(frozen=True)
class Argument:
    """A parameter that does not come from params.yaml. `type` is its bare type, of each item where there are `many`."""

    name: str
    type: type
    default: Any
    artifact: Artifact | None
    direction: Direction | None
    option: Option | None
    choices: tuple[str, ...]
    many: bool

    @property
    def optional(self) -> bool:
        """Whether a caller may leave it out."""
        return self.default is not inspect.Parameter.empty

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return self.option.flag if self.option and self.option.flag else f"--{self.name.replace('_', '-')}"


@dataclass(frozen=True)
class Reading:
    """What a parameter is in params.yaml: one of the `sections`, or all of them together (`whole`).

    Of a section the `keys` alone, where there are any; a `single` key is a plain value.
    """

    sections: tuple[str, ...]
    keys: tuple[str, ...] = ()
    whole: bool = False
    single: bool = False

    @classmethod
    def of(cls, text: str) -> Reading:
        """The reading that a contract states as text."""
        if text == "*":
            return cls(tuple(SECTIONS), whole=True)
        sections, _, keys = text.partition(".")
        return cls(tuple(sections.split("|")), tuple(keys.split(",")) if keys else (), single=bool(keys) and "," not in keys)

    def chosen(self, section: str) -> tuple[str, ...]:
        """The sections that are read where `section` is the choice: that one if it is among them, else the first."""
        return self.sections if self.whole else (section if section in self.sections else self.sections[0],)

    def value(self, sections: Mapping[str, Any], section: str) -> Any:
        """The parameter, of `sections` by name: instances, or mappings of the keys that are read. Raises SettingsError."""
        if self.whole:
            return parse({name: sections[name].model_dump(mode="json") for name in self.sections}, Settings, origin=ORIGIN)
        (name,) = self.chosen(section)
        values = sections[name]
        if self.single:
            return values[self.keys[0]] if isinstance(values, Mapping) else getattr(values, self.keys[0])
        # Of a section that is read in part nothing else is there: reading more than the contract says is an AttributeError.
        return DESCRIBED[name].model_construct(**values) if isinstance(values, Mapping) else values


@dataclass(frozen=True)
class Page:
    """A page about what a component made, of its result and its last output: "HTML" or "Markdown"."""

    type: Literal["HTML", "Markdown"]
    text: Callable[[Any, Path], str]


@dataclass(frozen=True)
class Component(Generic[P, R]):
    """A function with its contract. Calling it calls the function.

    `computes`: it runs networks, so it wants an accelerator and a place for what it keeps. `light`: it does without PyTorch.
    `reusable`: its outputs depend on its code, settings and inputs alone; a name is the one section with which they do.
    `retries`: how many new attempts can help. `exclusive`: options that do not go together. `pages`: what people look at.
    `numbers`: metrics of its last output, and notes about them. `reason`: why that output goes no further, "" where it may.
    `describe`: facts about the outputs, from the result.
    """

    function: Callable[P, R]
    reads: Mapping[str, str]
    computes: bool = False
    light: bool = False
    reusable: bool | str = False
    retries: int = 3
    exclusive: tuple[str, ...] = ()
    pages: Mapping[str, Page] = field(default_factory=dict)
    numbers: Callable[[Path], tuple[dict[str, float], dict[str, str]]] | None = None
    reason: Callable[[Path], str] | None = None
    describe: Callable[[Any], dict[str, Any]] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    @property
    def reference(self) -> str:
        """MODULE:FUNCTION, for pkgutil.resolve_name."""
        module = self.function.__globals__["__spec__"].name  # of its own, even where it runs as a command
        return f"{module}:{self.function.__name__}"

    @cached_property
    def readings(self) -> dict[str, Reading]:
        """What each parameter that comes from params.yaml is there."""
        return {name: Reading.of(text) for name, text in self.reads.items()}

    @cached_property
    def arguments(self) -> dict[str, Argument]:
        """All other parameters by name."""
        hints = get_type_hints(self.function, include_extras=True)
        parameters = inspect.signature(self.function).parameters
        return {name: _argument(one, hints[name]) for name, one in parameters.items() if name not in self.reads}

    def artifacts(self, direction: Direction) -> dict[str, Argument]:
        """The folders that it reads or writes."""
        return {name: one for name, one in self.arguments.items() if one.direction is direction}

    def sections(self, section: str) -> dict[str, tuple[str, ...]]:
        """The sections of params.yaml that it reads, each with the keys (none for all). `section` is its choice of one."""
        return {name: one.keys for one in self.readings.values() for name in one.chosen(section)}

    def settings(self, sections: Mapping[str, Any], section: str) -> dict[str, Any]:
        """Its parameters of params.yaml, as `Reading.value`. Raises SettingsError."""
        return {name: one.value(sections, section) for name, one in self.readings.items()}


def component(reads: Mapping[str, str], **contract: Any) -> Callable[[Callable[P, R]], Component[P, R]]:
    """Makes a function the component of this contract; the keywords are the fields of Component."""

    def made(function: Callable[P, R]) -> Component[P, R]:
        return Component(function, reads, **contract)

    return made


def _argument(parameter: inspect.Parameter, hint: Any) -> Argument:
    told: list[Any] = []
    many, choices = False, ()
    while True:
        if get_origin(hint) is Annotated:
            hint, *notes = get_args(hint)
            told += notes
        elif type(None) in get_args(hint):
            (hint,) = (one for one in get_args(hint) if one is not type(None))
        elif get_origin(hint) is list:
            many, (hint,) = True, get_args(hint)
        elif get_origin(hint) is Literal:
            choices, hint = get_args(hint), str
        else:
            break
    option = next((Option(note) if isinstance(note, str) else note for note in told if isinstance(note, str | Option)), None)
    artifact = next((note for note in told if isinstance(note, Artifact)), None)
    direction = next((note for note in told if isinstance(note, Direction)), None)
    return Argument(parameter.name, hint, parameter.default, artifact, direction, option, choices, many)
