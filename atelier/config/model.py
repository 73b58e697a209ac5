"""Section `model` of params.yaml: what every architecture is told, and the section of the chosen one. Imports no PyTorch.

An architecture is a pair of files in atelier/networks/, found by its name: NAME.py holds its networks, NAME_settings.py its
`Settings`. Nothing else names it.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    create_model,
    model_serializer,
    model_validator,
)

from atelier.config.section import PositiveInt, Section, SettingsError, parse
from atelier.config.tasks import tasks
from atelier.config.training import TrainSettings

AUXILIARY = "auxiliary classifier"  # of the discriminator
SUFFIX = "_settings"
TASK = "generation"  # of all that was written before there was a choice
STAGES = {
    28: 3,
    32: 4,
    64: 5,
    128: 6,
    256: 7,
    512: 8,
    1024: 9,
}  # feature maps of 7 or 4 px, doubled up to the resolution


class FamilySettings(Section):
    """An architecture's own section. Each of its keys has a default, so that params.yaml may leave the section out.

    `title` is what people read, with the source. `normalized` by batch norm, it sees each micro-batch by itself, which changes
    more than rounding. `spectral_norm` bounds the slope of its discriminator. `projects`: labels come in by projection alone.
    `start` is what its generator starts from; text and sound come beside noise. `styles`: it has a space between latents and
    images in which path lengths can be measured. `later`: keys that came after models of the family were trained; where they have
    their default nothing that is written of a model names them, so that these models stay what they are.
    """

    title: ClassVar[str]
    normalized: ClassVar[bool] = False
    spectral_norm: ClassVar[bool] = False
    projects: ClassVar[bool] = False
    start: ClassVar[Literal["noise", "pictures", "text and sound"]] = "noise"
    styles: ClassVar[bool] = False
    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, dump: SerializerFunctionWrapHandler) -> Any:
        fields = type(self).model_fields
        return {key: value for key, value in dump(self).items() if key not in self.later or value != fields[key].default}

    @classmethod
    def name(cls) -> str:
        """The architecture's name: that of its file."""
        return cls.__module__.rpartition(".")[2].removesuffix(SUFFIX)

    def check(self, resolution: int) -> None:
        """Raises ValueError, with what to change, if the family cannot make images of this side."""

    def check_training(self, section: str, train: TrainSettings) -> None:
        """Raises ValueError, with what to change, if it cannot be trained by these settings, those of `section`."""


def architectures() -> tuple[str, ...]:
    """Names of the architectures that there are, from the files of atelier/networks/."""
    folder = Path(__file__).parents[1] / "networks"
    return tuple(sorted(path.stem.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}.py")))


def modules(architecture: str) -> tuple[str, str]:
    """The two modules of an architecture."""
    return f"atelier.networks.{architecture}", f"atelier.networks.{architecture}{SUFFIX}"


def family(architecture: str) -> type[FamilySettings]:
    """The class of an architecture's section."""
    return cast(type[FamilySettings], import_module(modules(architecture)[1]).Settings)


if TYPE_CHECKING:
    Architecture = str
    TaskName = str
else:
    Architecture, TaskName = Literal[architectures()], Literal[tasks() or (TASK,)]  # no task travels with a registered model


class ModelSettings(Section):
    """Which architecture is trained; its own keys are in a section of its name.

    The section may be left out, for the architecture's defaults. A section of another architecture may stand and counts for
    nothing, so that `dvc exp run -S model.architecture=...` can choose.
    """

    task: TaskName = Field(default=TASK, description="what is learnt: a folder of atelier/tasks/")
    architecture: Architecture = Field(description="family of networks, whose own keys are in the section of its name")
    conditional: bool = Field(default=False, description="condition both networks on the class label")
    conditioning: Literal["projection", "concatenation", "auxiliary"] = Field(
        default="projection",
        description="how the discriminator takes the label: projection (on its embedding), concatenation (as one more color of "
        "the image) or auxiliary (it also has to name the class); some architectures project only",
    )
    latent_dim: PositiveInt | None = Field(
        default=None, description="dimensions of the latent z, where the architecture's generator starts from noise"
    )

    @classmethod
    def found(cls) -> dict[str, type[Section]]:
        return {name: family(name) for name in architectures()}

    @property
    def family(self) -> FamilySettings:
        """The chosen architecture's own settings."""
        return cast(FamilySettings, getattr(self, self.architecture))

    @model_validator(mode="wrap")
    @classmethod
    def _with_families(cls, values: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        if cls is not ModelSettings or not isinstance(values, dict):
            return build(values)
        names = frozenset(architectures()) & {*values, str(values.get("architecture"))}
        return cast(Self, _with(names).model_validate(values)) if names else build(values)

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        if self.family.start != "pictures" and self.latent_dim is None:
            raise ValueError(f"latent_dim is missing, and {self.architecture} makes images of noise; set it, for example to 64")
        if self.conditional and self.family.projects and self.conditioning != "projection":
            raise ValueError(
                f"conditioning {self.conditioning} is not for {self.architecture}, whose discriminator projects on the label's "
                "embedding: set conditioning: projection"
            )
        return self

    @property
    def offers(self) -> frozenset[str]:
        """What some regularizers need of the networks."""
        auxiliary = self.conditional and self.conditioning == "auxiliary"
        return frozenset([AUXILIARY] * auxiliary + ["styles"] * self.family.styles)

    def identity(self) -> dict[str, Any]:
        """What defines the networks: the chosen family's section only, in full."""
        return {
            "architecture": self.architecture,
            "conditional": self.conditional,
            **({"conditioning": self.conditioning} if self.conditional else {}),
            **({"latent_dim": self.latent_dim} if self.latent_dim else {}),
            self.architecture: self.family.model_dump(mode="json"),
        }

    @classmethod
    def from_identity(cls, identity: dict[str, Any], origin: str) -> ModelSettings:
        """The settings behind an `identity()`. Raises SettingsError.

        Generators that were made before there was a choice of conditioning are conditioned by projection.
        """
        architecture = identity.get("architecture")
        if architecture not in architectures():
            raise SettingsError(f"{origin}: architecture {architecture!r} is not known to this version of Atelier")
        made = parse({"conditioning": "projection"} | identity, ModelSettings, origin, "model")
        if missing := type(made.family).model_fields.keys() - made.family.later - made.family.model_fields_set:
            raise SettingsError(f"{origin}: model.{architecture}: {', '.join(sorted(missing))} missing; the file is damaged")
        return made


@cache
def _with(names: frozenset[str]) -> type[ModelSettings]:
    """ModelSettings with the sections of these architectures."""
    sections: dict[str, Any] = {name: (found := family(name), Field(default_factory=found)) for name in sorted(names)}
    return create_model("ModelSettings", __base__=ModelSettings, __doc__=ModelSettings.__doc__, **sections)
