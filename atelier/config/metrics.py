"""The declarations of metrics: the values that each gives and what it needs.

A metric is one file in atelier/metrics/kinds/, and the file's name is its name in params.yaml. The choices of params.yaml, the
limits of the gate, titles and refusals are read from these declarations. Settings are read where there is no PyTorch, so a file
there imports at its top nothing that loads it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.util import find_spec
from typing import ClassVar, Literal

PACKAGE = "atelier.metrics.kinds"  # a name, not an import: what is declared is loaded when it is asked for


class Need(Enum):
    """Something a metric looks at. `what` names it; `remedy` is the way to it where it is missing."""

    EXTRACTOR = "a feature extractor", "choose one"
    FEATURES = "features of the generated images and moments of the real ones", "choose an extractor"
    REAL_FEATURES = "the features of each real image", "choose an extractor"
    LOGITS = "a network with classes after its last layer", "choose inception with layer default, or efficientnet_lite0"
    CLASSES = "images of the same labelled classes on both sides", "pack with labels and train with model.conditional: true"
    LABELS = "a packed set with labels", "set data.NAME.labels, and pack again"
    HELD_OUT = "images held out from training", "raise data.NAME.holdout and pack again"
    TARGET = "a target for each generated image", "measure a task that has targets"
    PICTURE = "the picture that each generated image was made from", "measure a task that translates pictures"
    PICTURE_FEATURES = "the picture that each generated image was made from, of its size", "measure a task that has such"
    STYLE = "the picture whose style each generated image was to have", "measure a task that transfers styles"
    MAP = "the label map that each generated image was made from", "measure a task that is given label maps"
    TOLD = "text or sound that each generated image was made from", "measure a task that is told such"
    DISCRIMINATOR = "the discriminator beside the generator", "measure a whole checkpoint folder"
    TRAINING = "the images that were trained on, where others are the reference", "measure by held-out images"
    MODEL = "the generator itself", "measure a generator"

    def __init__(self, what: str, remedy: str) -> None:
        self.what, self.remedy = what, remedy


COMPARED = frozenset({Need.FEATURES, Need.REAL_FEATURES, Need.HELD_OUT})  # features of generated images with those of real ones
EXTRACTED = COMPARED | {Need.LOGITS, Need.PICTURE_FEATURES}  # features of the generated images
PAIRED = frozenset({Need.TARGET, Need.PICTURE, Need.STYLE, Need.MAP})  # what belongs to each generated image
LABELED = frozenset({Need.LABELS, Need.CLASSES})


@dataclass(frozen=True)
class Value:
    """A number that a metric gives.

    `kind` identifies it and `title` is what people read. With `in_space` ("frechet") its name is that and the network's
    ("frechet_dinov2"), else the kind. `published` is the name and the title it has with the network and weights of its published
    definition ("fid", "FID"). A "share" is a percentage of at most 100, a "ratio" may exceed that. `subject` is what it says
    something about. It is better when higher, or lower, with a `proviso`, if there is one.

    The gate may decide by it if it `decides`, and `limit` ("min_coverage") is the key of section `gate` that bounds it, a share,
    from below or from above, in the words of `limit_text`. `caveat` is the model card's sentence, with {} for the number, and
    `unmeasured` the one where it was not measured.
    """

    kind: str
    title: str
    higher_is_better: bool
    in_space: str = ""
    published: tuple[str, str] | None = None
    form: Literal["number", "share", "ratio"] = "number"
    subject: Literal["generator", "classifier", "real images", "input"] = "generator"
    proviso: str = ""
    decides: bool = False
    limit: str = ""
    limit_text: str = ""
    caveat: str = ""
    unmeasured: str = ""

    def __post_init__(self) -> None:
        if self.limit and not (self.form == "share" and self.limit.startswith(("min_", "max_"))):
            raise ValueError(f"{self.kind}: only a share has a limit, and it is named min_... or max_..., not {self.limit}")
        if self.decides and self.higher_is_better:
            raise ValueError(f"{self.kind}: the gate decides by what is better when lower")

    @property
    def better(self) -> str:
        """ "better", with the proviso."""
        return f"better, {self.proviso}" if self.proviso else "better"

    @property
    def of_input(self) -> Value:
        """The same of the pictures that generated images were made from, as they were given: what it says without a generator."""
        return self._beside("input", "Untranslated input", "input")

    @property
    def of_bicubic(self) -> Value:
        """The same of those pictures enlarged, where generated images are larger: what resizing without a generator has."""
        return self._beside("bicubic", "Bicubic enlargement", "input")

    @property
    def of_training(self) -> Value:
        """The same of images that were trained on against held-out ones: what a generator that copies its set would have."""
        return self._beside("floor", "Real images", "real images")

    @property
    def of_held_out(self) -> Value:
        """The same of images that were held out from training: what new real images have."""
        return self._beside("held_out", "Held-out images", "real images")

    def _beside(self, prefix: str, words: str, subject: Literal["real images", "input"]) -> Value:
        published = self.published and (f"{prefix}_{self.published[0]}", f"{words}: {self.published[1]}")
        space, title = self.in_space and f"{prefix}_{self.in_space}", f"{words}: {self.title}"
        return Value(f"{prefix}_{self.kind}", title, self.higher_is_better, space, published, self.form, subject)

    @property
    def is_floor(self) -> bool:
        """True where `limit` bounds the value from below."""
        return self.limit.startswith("min_")

    @property
    def open_limit(self) -> float:
        """The limit that every share passes."""
        return 0.0 if self.is_floor else 1.0

    def name(self, network: str, published: bool) -> str:
        """Its name with this network, which may be that of the published definition."""
        if published and self.published:
            return self.published[0]
        return f"{self.in_space}_{network}" if self.in_space else self.kind

    def has_name(self, name: str) -> bool:
        """True where `name` is one that a measurement of this kind has."""
        spaced = bool(self.in_space) and name.startswith(f"{self.in_space}_")
        return spaced or name == self.kind or (self.published is not None and name == self.published[0])

    def title_of(self, name: str) -> str:
        """The title of a measurement of this kind; the space it was measured in is part of it."""
        if self.published and name == self.published[0]:
            return self.published[1]
        network = name.removeprefix(f"{self.in_space}_")
        return f"{self.title} in {network}" if self.in_space and network != name else self.title


def with_inputs(*values: Value) -> tuple[Value, ...]:
    """The values, those of the inputs as they were given, and those of the inputs enlarged."""
    return (*values, *(one.of_input for one in values), *(one.of_bicubic for one in values))


class Declaration:
    """A metric's description of itself; atelier.metrics.metric.Metric adds how it is computed.

    `uses` is what it looks at where there is such, for numbers that stand beside its own. `fewest` is the number of images it
    needs on each side, `fewest_generated` the number of generated ones.
    """

    title: ClassVar[str]
    values: ClassVar[tuple[Value, ...]]
    needs: ClassVar[frozenset[Need]] = frozenset()
    uses: ClassVar[frozenset[Need]] = frozenset()
    fewest: ClassVar[int] = 0
    fewest_generated: ClassVar[int] = 0

    @property
    def name(self) -> str:
        """Its name in params.yaml, that of its file."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def removal(self) -> str:
        """The way to do without it, for messages."""
        limits = [f"gate.{value.limit}: {value.open_limit}" for value in self.values if value.limit]
        return f"take {self.name} out" + (f" and set {' and '.join(limits)}" if limits else "")

    def refusal(self, need: Need, why: str = "there is none here") -> str:
        """The message that it cannot be measured without `need`, with the remedy."""
        return f"{self.name} needs {need.what}, and {why}; {need.remedy}, or {self.removal}"


@cache
def metrics() -> dict[str, Declaration]:
    """Every metric by its name, in alphabetical order; none where the code travels with a registered model.

    Raises TypeError for a file that does not declare exactly one, and for a kind or a limit that two values declare.
    """
    if find_spec(PACKAGE.rpartition(".")[0]) is None:
        return {}
    package = importlib.import_module(PACKAGE)
    found = {name: _declared(name) for name in sorted(module.name for module in pkgutil.iter_modules(package.__path__))}
    values = [value for metric in found.values() for value in metric.values]
    names = Counter([*(value.kind for value in values), *(value.limit for value in values if value.limit)])
    if twice := [name for name, count in names.items() if count > 1]:
        raise TypeError(f"{PACKAGE}: several values are called {', '.join(twice)}; give each its own kind and limit")
    return found


def _declared(name: str) -> Declaration:
    module = importlib.import_module(f"{PACKAGE}.{name}")
    own = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
    found = [one for one in own if issubclass(one, Declaration)]
    if len(found) != 1:
        raise TypeError(f"{module.__file__}: declares {len(found)} metrics; one file is one subclass of Metric")
    return found[0]()


def declared_values() -> Iterator[tuple[Declaration, Value]]:
    """Every value beside the metric that gives it."""
    return ((metric, value) for metric in metrics().values() for value in metric.values)


def limits() -> Iterator[tuple[Declaration, Value]]:
    """The values that the gate can bound."""
    return ((metric, value) for metric, value in declared_values() if value.limit)


def deciding() -> dict[str, str]:
    """The kinds that may decide at the gate, each with its metric's name."""
    return {value.kind: metric.name for metric, value in declared_values() if value.decides}


def choosing() -> dict[str, str]:
    """The kinds that may choose the best save of a training, each with its metric's name: those that decide, or hold an image
    to its target."""
    found = ((metric, value) for metric, value in declared_values() if value.subject == "generator")
    return {value.kind: metric.name for metric, value in found if value.decides or metric.needs == {Need.TARGET}}


def value_of(kind: str, name: str) -> Value:
    """The declaration of a measurement's kind; where its metric is gone, one that knows its name alone."""
    declared = (value for _, value in declared_values() if value.kind == kind)
    return next(declared, Value(kind, name, higher_is_better=True))


def kind_of(name: str) -> str:
    """The kind of a measurement by its name, for those written before identities had a kind."""
    return next((value.kind for _, value in declared_values() if value.has_name(name)), name)
