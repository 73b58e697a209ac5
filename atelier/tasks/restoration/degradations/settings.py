"""Sections `train.restoration.degradations` and `finetune.restoration.degradations`. Imports no PyTorch."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from atelier.config.section import Section, Share

PAIRS = "pairs"
Name = Literal["bicubic", "noise", "blur", "realesrgan", "pairs"]
SHRINKS = ("bicubic", "realesrgan")  # to the size of what the generator is given

Two = Field(min_length=2, max_length=2)  # the least and the largest value
Levels = Annotated[list[Annotated[float, Field(ge=0, le=255)]], Two]
Photons = Annotated[list[Annotated[float, Field(ge=1, le=1e6)]], Two]
Shares = Annotated[list[Share], Two]
Pixels = Annotated[list[Annotated[float, Field(ge=0.01, le=20)]], Two]


class Ranges(Section):
    """A section with ranges, each a list of the least and the largest value."""

    @field_validator("*")
    @classmethod
    def _in_order(cls, value: Any) -> Any:
        if isinstance(value, list) and value[0] > value[1]:
            raise ValueError(f"is {value}; write the least value first")
        return value


class Noise(Ranges):
    """Noise of sensors: each image has amounts of its own, drawn from these ranges."""

    stretch: Literal["linear", "square_root"] = Field(
        default="linear",
        description="what an image's values are: light itself, or its square root, in which 8 bits hold faint stars beside "
        "bright ones, and the noise of photons is alike everywhere (Anscombe 1948); noise is added to the light",
    )
    gaussian: Levels | None = Field(default=None, description="deviation of Gaussian noise, in levels of 255: [least, largest]")
    poisson: Photons | None = Field(
        default=None,
        description="photons that make a pixel white, whose number in a pixel is a Poisson variable: [least, largest], of which "
        "each order of magnitude is drawn alike",
    )
    read_noise: Levels | None = Field(
        default=None,
        description="deviation of the Gaussian noise of reading a sensor, in photons, beside poisson: [least, largest]",
    )
    hot_pixels: Shares | None = Field(
        default=None,
        description="share of the values of an image that a hot pixel raises, each to a level drawn between its own and white: "
        "[least, largest]",
    )

    @property
    def amounts(self) -> dict[str, list[float]]:
        """The ranges that are set, by name."""
        return {name: value for name, value in self if isinstance(value, list)}

    @model_validator(mode="after")
    def _of_photons(self) -> Self:
        if self.read_noise and not self.poisson:
            raise ValueError("read_noise is in photons, and without poisson there are none; set poisson, or gaussian instead")
        return self


class Blur(Ranges):
    """Gaussian blur: each image has a kernel of its own."""

    sigma: Pixels = Field(default=[0.2, 3.0], description="its deviation in pixels: [least, largest]")
    anisotropic: Share = Field(
        default=0.0, description="probability that it has another deviation across, both in a direction that is drawn"
    )


class Degradations(Section):
    """How small or noisy images are made from clean ones, and in which order; it may be the list of `order` alone.

    A section of a degradation that the order does not name counts for nothing.
    """

    short: ClassVar[str] = "order"

    order: Annotated[list[Name], Field(min_length=1)] = Field(
        default=["bicubic"],
        description="what is done to a clean image, one after the other: bicubic (shrinks it as MATLAB does), noise, blur, or "
        "realesrgan (blur, resizing, noise and JPEG twice, ending in the small size); pairs alone does nothing, since the field "
        "input of each record holds the degraded image of its target",
    )
    noise: Noise = Field(default_factory=Noise)
    blur: Blur = Field(default_factory=Blur)

    @model_validator(mode="before")
    @classmethod
    def _order_alone(cls, values: Any) -> Any:
        return {cls.short: values} if isinstance(values, list) else values

    @model_serializer(mode="wrap")
    def _named_alone(self, dump: SerializerFunctionWrapHandler) -> Any:
        return {key: value for key, value in dump(self).items() if key == self.short or key in self.order}

    @property
    def pairs(self) -> bool:
        """Whether the records hold the degraded images."""
        return self.order == [PAIRS]

    @model_validator(mode="after")
    def _pairs_alone(self) -> Self:
        if PAIRS in self.order and not self.pairs:
            raise ValueError(f"order has {PAIRS}, whose images are degraded already, beside others; take one or the other out")
        return self

    @model_validator(mode="after")
    def _some_noise(self) -> Self:
        if "noise" in self.order and not self.noise.amounts:
            kinds = " or noise.".join(name for name in Noise.model_fields if name != "stretch")
            raise ValueError(f"order names noise, but not which; set noise.{kinds}")
        return self

    def check(self, scale: int) -> None:
        """Raises ValueError, with what to change, where a clean image does not become `scale` times smaller."""
        if self.pairs:
            return
        shrinking = [name for name in self.order if name in SHRINKS]
        if scale == 1 and "bicubic" in shrinking:
            raise ValueError("scale is 1, and bicubic among the degradations shrinks; take it out, or raise scale")
        if scale > 1 and not shrinking:
            raise ValueError(f"scale is {scale}, and of {', '.join(self.order)} none shrinks; name {' or '.join(SHRINKS)} too")
        if len(shrinking) > 1:
            raise ValueError(f"the degradations shrink by {' and by '.join(shrinking)}; name one of them, once")
