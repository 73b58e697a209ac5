"""The contract of a component: one typed signature from which its command line and its task on a cluster follow.

    @component(reads={"settings": "train|finetune", "experiment": "registry.experiment"}, computes=True, retries=10)
    def train(settings: TrainSettings, experiment: str, data: Annotated[In[Dataset], "the packed images"], output: Out[Model]) ...

`reads` says for each parameter that comes from params.yaml what it is there: a section ("train"), one of several, which the
argument `section` chooses ("train|finetune"), the entry that it chooses ("data.NAME"), some keys of a section
("evaluate.seed,batch"), a single value ("registry.experiment"), or all of it ("*"). In and Out mark folders that components hand
to each other. Of the other parameters those with a help text are options of the command line; the rest is for callers in Python.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Generic, Literal, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from atelier.config.reference import DESCRIBED
from atelier.config.section import Section, SettingsError, parse
from atelier.config.settings import NAMED, SECTIONS, Settings, nested
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
Detector = Annotated[Path, Artifact("detector", "Model")]
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

    def numbered(self, place: int) -> str:
        """The name of one of many in a task of a cluster, which takes each by itself."""
        return f"{self.name}_{place}"

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return self.option.flag if self.option and self.option.flag else f"--{self.name.replace('_', '-')}"


@dataclass(frozen=True)
class Reading:
    """What a parameter is in params.yaml: one of the `sections`, an entry of one (`entry`), or all of them together (`whole`).

    Of a section the `keys` alone, where there are any; a `single` key is a plain value.
    """

    sections: tuple[str, ...]
    keys: tuple[str, ...] = ()
    whole: bool = False
    entry: bool = False
    single: bool = False

    @classmethod
    def of(cls, text: str) -> Reading:
        """The reading that a contract states as text."""
        if text == "*":
            return cls((), whole=True)
        sections, _, keys = text.partition(".")
        if sections in NAMED:
            return cls((sections,), entry=True)
        return cls(tuple(sections.split("|")), tuple(keys.split(",")) if keys else (), single=bool(keys) and "," not in keys)

    def text(self, section: str) -> str:
        """The reading as a contract states it, with `section` as the choice: "*", "train", "data.base", "evaluate.seed,batch"."""
        if self.whole:
            return "*"
        name = section if self.entry or section in self.sections else self.sections[0]
        return f"{name}.{','.join(self.keys)}" if self.keys else name

    def plain(self, sections: Mapping[str, Section], section: str) -> Any:
        """What is read, of sections by name (`Settings.named`), as values of JSON. Raises SettingsError."""
        if self.whole:
            values = {name: one.plain() for name, one in sections.items() if name.partition(".")[0] in SECTIONS}
            return nested(values)
        name = self.sections[0] if self.keys else self.text(section)
        known = [one for one in sections if not self.entry or one.startswith(f"{self.sections[0]}.")]
        if name not in known:
            raise SettingsError(f"{name}: params.yaml has no such section, but {', '.join(known)}; name one of them")
        values = sections[name].plain()
        if self.single:
            return values[self.keys[0]]
        return {key: values[key] for key in self.keys} if self.keys else values

    def received(self, value: Any, section: str) -> Any:
        """The parameter that a function takes for what `plain` has given. Raises SettingsError.

        Of a section that is read in part nothing else is there: reading more than the contract says is an AttributeError.
        """
        if self.single:
            return value
        if self.whole:
            return parse(value, Settings, origin=ORIGIN)
        name = self.text(section)
        if self.keys:
            return DESCRIBED[self.sections[0]].model_construct(**value)
        return parse(value, DESCRIBED[name.partition(".")[0]], origin=ORIGIN, prefix=name)


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
        parameters = {name: one for name, one in inspect.signature(self.function).parameters.items() if name not in self.reads}
        # Theirs alone: what is returned may be a class that loads PyTorch, imported for the type checker.
        declared = SimpleNamespace(__annotations__={name: one.annotation for name, one in parameters.items()})
        hints = get_type_hints(declared, self.function.__globals__, include_extras=True)
        return {name: _argument(one, hints[name]) for name, one in parameters.items()}

    def artifacts(self, direction: Direction) -> dict[str, Argument]:
        """The folders that it reads or writes."""
        return {name: one for name, one in self.arguments.items() if one.direction is direction}

    def settings(self, sections: Mapping[str, Section], section: str) -> dict[str, Any]:
        """Its parameters of params.yaml, whose sections are given by name. Raises SettingsError."""
        return {name: one.received(one.plain(sections, section), section) for name, one in self.readings.items()}


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
