"""Section `model` of params.yaml: the families of networks, and the parameters of each. Imports no PyTorch.

A family has a class of settings here, a file in networks/, a line in networks/zoo.py and a section of params.yaml.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, cast, get_args

from pydantic import Field, model_validator

from atelier.config.section import PositiveInt, Section, SettingsError, Share, parse

STAGES = {
    28: 3,
    32: 4,
    64: 5,
    128: 6,
    256: 7,
    512: 8,
    1024: 9,
}  # feature maps of 7 or 4 px, doubled up to the resolution
ATTENDED = 128  # largest side of a map that attends: its weights are side^4 / 4 numbers an image, 268 MB in float32
Level = Annotated[int, Field(ge=1)]  # of a feature map: how often the image's side is halved to get its side
Form = Literal["skip", "residual"]


class MLPSettings(Section):
    """Goodfellow 2014; `mlp` and `mlp_deep` are both of it."""

    hidden: Annotated[list[PositiveInt], Field(min_length=1)]


class DCGANSettings(Section):
    """Radford 2016."""

    width: PositiveInt
    batch_norm: bool


class ResNetSettings(Section):
    """Miyato 2018."""

    width_generator: PositiveInt
    widest_generator: PositiveInt
    width_discriminator: PositiveInt
    widest_discriminator: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)]


class SAGANSettings(Section):
    """Zhang 2019."""

    width_generator: PositiveInt
    widest_generator: PositiveInt
    width_discriminator: PositiveInt
    widest_discriminator: PositiveInt
    attention: Level


class ProGANSettings(Section):
    """Karras 2018."""

    width: PositiveInt
    widest: PositiveInt
    grown: Share
    group: PositiveInt


class BigGANSettings(Section):
    """Brock 2019; the scales of its critic are Wang 2018's."""

    width_generator: PositiveInt
    widest_generator: PositiveInt
    width_discriminator: PositiveInt
    widest_discriminator: PositiveInt
    attention: Level
    embedding: PositiveInt
    scales: PositiveInt


class StyleGAN2Settings(Section):
    """Karras 2020."""

    width: PositiveInt
    widest: PositiveInt
    mapping_layers: PositiveInt
    mixing: Share
    generator: Form
    discriminator: Form
    group: PositiveInt


class R3GANSettings(Section):
    """Huang 2024."""

    channels: Annotated[list[PositiveInt], Field(min_length=1)]
    blocks: PositiveInt
    expansion: PositiveInt
    group_size: PositiveInt

    @model_validator(mode="after")
    def _groups(self) -> Self:
        for width in self.channels:
            if width * self.expansion % self.group_size:
                raise ValueError(
                    f"channels {width} x expansion {self.expansion} is not a multiple of group_size {self.group_size}; "
                    "choose a group_size that divides it"
                )
        return self


class Shared(Section):
    """What every family is told."""

    architecture: Literal["mlp", "mlp_deep", "dcgan", "resnet", "sagan", "progan", "biggan", "stylegan2", "r3gan"]
    conditional: bool
    conditioning: Literal["projection", "concatenation", "auxiliary"]
    latent_dim: PositiveInt


class ModelSettings(Shared):
    """Which family is trained, and the parameters of each."""

    mlp: MLPSettings
    mlp_deep: MLPSettings
    dcgan: DCGANSettings
    resnet: ResNetSettings
    sagan: SAGANSettings
    progan: ProGANSettings
    biggan: BigGANSettings
    stylegan2: StyleGAN2Settings
    r3gan: R3GANSettings

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        if self.conditional and self.architecture in ("biggan", "r3gan") and self.conditioning != "projection":
            raise ValueError(
                f"conditioning {self.conditioning} is not for {self.architecture}, whose discriminator projects on the label's "
                "embedding: set conditioning: projection"
            )
        return self

    def check(self, resolution: int) -> None:
        """Raises ValueError, with what to change, if the chosen family cannot paint images of this side."""
        stages = STAGES[resolution]
        if self.architecture == "r3gan" and len(self.r3gan.channels) != stages:
            raise ValueError(
                f"model.r3gan.channels has {len(self.r3gan.channels)} widths, but {resolution} px need {stages}: one for each "
                "doubling of the side, from the smallest up"
            )
        for name in ("sagan", "biggan"):
            level = getattr(self, name).attention
            if self.architecture == name and level >= stages - 1:
                raise ValueError(
                    f"model.{name}.attention is {level}, but {resolution} px are halved {stages - 1} times, to the smallest "
                    f"feature map, which is too small to attend: choose 1 to {stages - 2}"
                )
            if self.architecture == name and (side := resolution // 2**level) > ATTENDED:
                least = (resolution // ATTENDED).bit_length() - 1
                raise ValueError(
                    f"model.{name}.attention is {level}, in {resolution} px a feature map of {side} px, whose attention takes "
                    f"{side**4 / 1e9:.0f} GB an image: choose {least} to {stages - 2}"
                )
        if self.architecture == "biggan" and self.biggan.scales >= stages:
            raise ValueError(
                f"model.biggan.scales is {self.biggan.scales}, but images of {resolution} px can be judged at "
                f"{stages - 1} scales at most: choose 1 to {stages - 1}"
            )

    @property
    def spectral_norm(self) -> bool:
        """Whether the family's discriminator has spectral norm."""
        return self.architecture in ("resnet", "sagan", "biggan")

    def identity(self) -> dict[str, Any]:
        """What defines the networks: the chosen family's section only, so that another family's edit changes nothing."""
        return {
            "architecture": self.architecture,
            "conditional": self.conditional,
            **({"conditioning": self.conditioning} if self.conditional else {}),
            "latent_dim": self.latent_dim,
            self.architecture: getattr(self, self.architecture).model_dump(mode="json"),
        }

    @classmethod
    def from_identity(cls, identity: dict[str, Any], origin: str) -> ModelSettings:
        """The settings behind an `identity()`; the sections of other families stay unset. Raises SettingsError.

        Generators that were made before there was a choice of conditioning are conditioned by projection.
        """
        family = identity.get("architecture")
        field = cls.model_fields.get(str(family))
        if field is None or family not in get_args(cls.model_fields["architecture"].annotation):
            raise SettingsError(f"{origin}: architecture {family!r} is not known to this version of Atelier")
        told = {"conditioning": "projection"} | {name: value for name, value in identity.items() if name != family}
        own = parse(identity.get(str(family)), cast(type[Section], field.annotation), origin, f"model.{family}")
        return cls.model_construct(**{**parse(told, Shared, origin, "model").model_dump(), str(family): own})
