"""A number and everything that moves it. Numbers of different identity are never compared."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from pydantic import FiniteFloat, TypeAdapter, ValidationError

from atelier.config.metrics import kind_of
from atelier.config.section import first_problem
from atelier.errors import AtelierError


class MetricError(AtelierError):
    """A metric cannot be computed or read; the message names the reason and the remedy."""


class IdentityMismatch(MetricError):
    """Two numbers were to be compared that do not measure the same thing in the same way."""


@dataclass(frozen=True)
class Identity:
    """Everything that moves a number: the metric, the network, the images on both sides and how they were drawn.

    `weights` is the sha256 of the extractor's (or classifier's) weights; `resize` says how an image reaches its input;
    `samples` and `sampling` say how many generated images were measured and how they were drawn; `reference` is the content
    hash and split of the real images, `reference_count` how many of them were used; `seed` is that of the latents, of the
    subsets and of the classifier; `parameters` is what else the metric's definition leaves open; `kind` is that of the declared
    value (atelier.config.metrics), which follows from the name where a record of before has none.
    """

    metric: str
    extractor: str
    weights: str
    resize: str
    samples: int
    sampling: str
    reference: str
    reference_count: int
    seed: int
    parameters: str
    kind: str = ""

    def __post_init__(self) -> None:
        if not self.kind:
            object.__setattr__(self, "kind", kind_of(self.metric))

    def differences(self, other: Identity) -> list[str]:
        """One "part: mine, not theirs" for each part that differs."""
        pairs = ((field.name, getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return [f"{name}: {mine}, not {theirs}" for name, mine, theirs in pairs if mine != theirs]


@dataclass(frozen=True)
class Measurement:
    """A value, its standard error where one is known, its identity, and which direction is better."""

    value: float
    standard_error: float | None
    identity: Identity
    higher_is_better: bool

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise MetricError(f"{self.identity.metric} is {self.value}; look for NaN or constants in the generated images")

    @property
    def name(self) -> str:
        """The metric's name: "fid" for the published Inception's 2048 features only."""
        return self.identity.metric

    @property
    def kind(self) -> str:
        """The kind of value, in whatever space."""
        return self.identity.kind

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval: 1.96 standard errors to both sides; None where the error is not known."""
        if self.standard_error is None:
            return None
        return self.value - 1.96 * self.standard_error, self.value + 1.96 * self.standard_error

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Measurement:
        """Inverse of `to_dict`. Raises MetricError where a part is missing or unknown."""
        try:
            identity = TypeAdapter(Identity).validate_python(Identity(**values["identity"]).__dict__)
            measurement = TypeAdapter(cls).validate_python(cls(**{**values, "identity": identity}).__dict__)
            TypeAdapter(FiniteFloat | None).validate_python(measurement.standard_error)
            return measurement
        except ValidationError as error:
            raise MetricError(f"not a measurement of this version of Atelier ({first_problem(error)}); evaluate again") from error
        except (KeyError, TypeError, OverflowError) as error:
            raise MetricError(f"not a measurement of this version of Atelier ({error}); evaluate again") from error


def compare(first: Measurement, second: Measurement) -> float:
    """second.value - first.value. Raises IdentityMismatch naming each part in which their identities differ."""
    differences = first.identity.differences(second.identity)
    if differences:
        raise IdentityMismatch(
            f"{first.name} and {second.name} are not comparable; measure both alike. They differ in {'; '.join(differences)}"
        )
    return second.value - first.value
