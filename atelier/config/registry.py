"""Sections `registry` and `gate` of params.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, create_model, model_validator

from atelier.config.metrics import Value, deciding, limits
from atelier.config.section import Section, Share, Weight

if TYPE_CHECKING:
    Primary = str
else:
    Primary = Literal[tuple(deciding())]


class RegistrySettings(Section):
    """Names under which runs and generators are kept in MLflow."""

    experiment: Annotated[str, Field(min_length=1)] = Field(description="MLflow experiment of the runs")
    base: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")] = Field(
        description="registered name of the base generator: letters, digits, _ and -"
    )
    finetuned: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")] = Field(
        description="registered name of the fine-tuned generator, another than base"
    )

    @model_validator(mode="after")
    def _two_names(self) -> Self:
        if self.base == self.finetuned:
            raise ValueError(f"base and finetuned are both {self.base}; give each generator a name of its own")
        return self


class GateSettings(Section):
    """Who becomes champion in the registry."""

    primary: Primary = Field(description=f"number that decides, lower is better: {' or '.join(deciding())}")
    min_delta: Weight = Field(
        description="by how much more than this it must beat the champion's, whose 95 % interval must not meet its own"
    )

    def limit(self, value: Value) -> float:
        """The limit of a value that declares one."""
        return float(getattr(self, value.limit))


def _limit(value: Value) -> tuple[Any, Any]:
    what = f"{value.limit_text}; {value.open_limit} for no such {'floor' if value.is_floor else 'ceiling'}"
    return Share, Field(value.open_limit, description=what)


if not TYPE_CHECKING:  # with a key for each value that declares a limit; without the key there is none
    GateSettings = create_model(
        GateSettings.__name__,
        __base__=GateSettings,
        __module__=__name__,
        __doc__=GateSettings.__doc__,
        **{value.limit: _limit(value) for _, value in limits()},
    )
