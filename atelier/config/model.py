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
Group = Annotated[
    int,
    Field(gt=0, description="consecutive images over which the discriminator sees the minibatch's standard deviation"),
]


class MLPSettings(Section):
    """Goodfellow 2014; `mlp` and `mlp_deep` are both of it."""

    hidden: Annotated[list[PositiveInt], Field(min_length=1)] = Field(
        description="widths of the generator's hidden layers; the discriminator mirrors them"
    )


class DCGANSettings(Section):
    """Radford 2016."""

    width: PositiveInt = Field(
        description="channels of the layer nearest to the image; doubled at each halving of the resolution"
    )
    batch_norm: bool = Field(
        description="batch norm in the discriminator (the generator has it always); false with r1 or r2, whose gradient norms it "
        "would mix over the batch"
    )


class ResidualSettings(Section):
    """What families of residual blocks share: each network has widths of its own."""

    width_generator: PositiveInt = Field(
        description="channels of the generator's layer nearest to the image; doubled at each halving of the resolution"
    )
    widest_generator: PositiveInt = Field(description="largest number of channels of the generator's layers")
    width_discriminator: PositiveInt = Field(
        description="channels of the discriminator's first block; doubled at each further halving"
    )
    widest_discriminator: PositiveInt = Field(description="largest number of channels of the discriminator's layers")


class ResNetSettings(ResidualSettings):
    """Miyato 2018."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="probability that a channel of the generator is left out: what varies an image beside the latent, in training"
    )


class SAGANSettings(ResidualSettings):
    """Zhang 2019."""

    attention: Level = Field(
        description="where both networks attend: how often the image is halved to the side of that feature map"
    )


class EqualizedSettings(Section):
    """What families of equalized learning rates share: both networks have the same widths."""

    width: PositiveInt = Field(
        description="channels of the layers nearest to the image; doubled at each halving of the resolution"
    )
    widest: PositiveInt = Field(description="largest number of channels of a layer")


class ProGANSettings(EqualizedSettings):
    """Karras 2018."""

    grown: Share = Field(
        description="share of the training after which the networks have grown to the whole resolution; stages and fades take "
        "equal parts of it"
    )
    group: Group


class BigGANSettings(SAGANSettings):
    """Brock 2019, who begin with SAGAN; the scales of its critic are Wang 2018's."""

    embedding: PositiveInt = Field(description="dimensions of the class embedding that all layers of the generator share")
    scales: PositiveInt = Field(
        description="sizes at which the discriminator judges an image: itself, its half, its quarter, ..."
    )


class StyleGAN2Settings(EqualizedSettings):
    """Karras 2020."""

    mapping_layers: PositiveInt = Field(description="layers from the latent to the style")
    mixing: Share = Field(description="share of the images that are painted with the styles of two latents, in training")
    generator: Form = Field(description="form of the generator: skip (each stage adds to the image) or residual")
    discriminator: Form = Field(description="form of the discriminator: residual, or skip (each stage sees the image)")
    group: Group


class R3GANSettings(Section):
    """Huang 2024."""

    channels: Annotated[list[PositiveInt], Field(min_length=1)] = Field(
        description="channels of each stage, from the smallest up: one for each of 7, 14, 28 px or 4, 8, 16, 32 ... px"
    )
    blocks: PositiveInt = Field(description="residual blocks a stage")
    expansion: PositiveInt = Field(description="inner width of a block over its outer width")
    group_size: PositiveInt = Field(description="channels a group of the 3x3 convolution")

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

    architecture: Literal["mlp", "mlp_deep", "dcgan", "resnet", "sagan", "progan", "biggan", "stylegan2", "r3gan"] = Field(
        description="family of networks"
    )
    conditional: bool = Field(description="condition both networks on the class label")
    conditioning: Literal["projection", "concatenation", "auxiliary"] = Field(
        description="how the discriminator takes the label: projection (on its embedding), concatenation (as one more colour of "
        "the image) or auxiliary (it also has to name the class); biggan and r3gan project"
    )
    latent_dim: PositiveInt = Field(description="dimensions of the latent z")


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
