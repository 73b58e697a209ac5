"""Sections `registry`, `products` and `gate` of params.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model

from atelier.config.metrics import Value, deciding, limits
from atelier.config.section import RegisteredName, Section, Share, Weight

if TYPE_CHECKING:
    Primary = str
else:
    Primary = Literal[tuple(deciding())]


class RegistrySettings(Section):
    """Where runs and generators are kept in MLflow."""

    experiment: Annotated[str, Field(min_length=1)] = Field(description="MLflow experiment of the runs")


class ProductSettings(Section):
    """A generator that is measured and registered."""

    name: RegisteredName = Field(description="its name in the registry, another for each product: letters, digits, _ and -")
    trained_by: Literal["train", "finetune"] = Field(description="section by which it is trained: train or finetune")
    part: str | None = Field(
        default=None, description="which generator of that training, where it makes several (a_to_b, b_to_a)"
    )
    data: str | None = Field(
        default=None, description="set that it is measured against; needed where that training is on several, else its own"
    )
    inputs: str | None = Field(
        default=None, description="set whose records it is given when it is measured, where that is another one"
    )


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
