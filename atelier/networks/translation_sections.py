"""Base classes for the sections of architectures that translate pictures. Imports no PyTorch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from atelier.config.model import FamilySettings
from atelier.config.section import PositiveInt, Rate

Padding = Literal["reflect", "zeros"]
Count = Annotated[int, Field(ge=0)]


class TranslationSettings(FamilySettings):
    """What all translators have: widths, and the discriminator of patches."""

    start = "pictures"

    width: PositiveInt = Field(default=64, description="channels of the generator's first layer; doubled at each halving")
    width_discriminator: PositiveInt = Field(
        default=64,
        description="channels of the discriminator's first layer; doubled in each further one, up to eight times as many",
    )
    layers_discriminator: PositiveInt = Field(
        default=3,
        description="halvings in the discriminator, whose patches are of 16 px for 1, 34 for 2, 70 for 3; at 32 to 64 px take 2",
    )

    @property
    def noise_size(self) -> int:
        """Numbers of the noise that the generator takes beside what it translates."""
        return 0

    def check(self, resolution: int) -> None:
        self.check_discriminator(resolution)

    def check_discriminator(self, resolution: int) -> None:
        """Raises ValueError if its maps become too small."""
        if resolution >> self.layers_discriminator < 3:
            most = (resolution // 3).bit_length() - 1
            raise ValueError(
                f"model.{self.name()}.layers_discriminator is {self.layers_discriminator}, which leaves no patch of {resolution} "
                f"px: choose 1 to {most}"
            )


class ResNetTranslatorSettings(TranslationSettings):
    """A translator of residual blocks between halvings and doublings."""

    blocks: PositiveInt = Field(default=9, description="residual blocks at the smallest map; the papers take 6 below 256 px")
    halvings: Count = Field(default=2, description="how often the picture's side is halved before the residual blocks")
    padding: Padding = Field(
        default="reflect", description="what is around a map: reflect (the map mirrored) or zeros, which leave rims"
    )
    eps: Rate = Field(
        default=1e-3,
        description="added to the variance in instance norm; the papers' 1e-5 multiplies gradients by 316 a layer where a "
        "picture is of one color, as drawings on white nearly are",
    )
    unshuffle: PositiveInt = Field(
        default=1,
        description="blocks of so many by so many pixels become channels before the first layer and pixels again after the last: "
        "1 is the papers' form, 2 a quarter of the work at small sides",
    )
    residual: bool = Field(
        default=False,
        description="the generator adds to its input, cut to the range of pixels, and begins as the identity: sharp from the "
        "first step, colors not inverted",
    )

    @property
    def shrinkage(self) -> int:
        """How many times the side of the picture is that of the smallest map."""
        return self.unshuffle * 2**self.halvings

    def check(self, resolution: int) -> None:
        super().check(resolution)
        if resolution % self.shrinkage or resolution // self.shrinkage < 4:
            raise ValueError(
                f"model.{self.name()} shrinks the side by {self.shrinkage} (unshuffle x 2^halvings), and {resolution} px are no "
                "multiple of it or leave less than 4: choose fewer halvings or a smaller unshuffle"
            )


class ResamplingSettings(ResNetTranslatorSettings):
    """Such a translator with a choice of how maps are doubled."""

    upsample: Literal["transposed", "nearest", "shuffle"] = Field(
        default="transposed",
        description="how maps are doubled: transposed (the paper's convolutions, which may draw a checkerboard), nearest "
        "(neighbors repeated, then convolved; the slowest) or shuffle (channels become pixels)",
    )


class SemanticSettings(TranslationSettings):
    """A generator whose norms are modulated by a label map."""

    width: PositiveInt = Field(
        default=64, description="channels of the generator's last block; twice as many in each before it, up to sixteen times"
    )
    norm: Literal["batch", "instance"] = Field(
        default="batch",
        description="norm of the generator before the label map modulates it: batch (of all ranks, the papers' form), which at "
        "small batches gives other pictures after training than in it, or instance",
    )
    eps: Rate = Field(default=1e-3, description="added to the variance in norms; the papers have 1e-5")
    width_labels: PositiveInt = Field(
        default=128, description="channels between the label map and the gains and shifts of a norm"
    )
    noise: Count = Field(
        default=256,
        description="numbers of the noise from which the generator's first map is made, so that one label map gives many "
        "pictures; with 0 it is made from the label map",
    )
    doublings: Literal[3, 4, 5, 6] = Field(
        default=5,
        description="how often the generator's first map is doubled to the picture's side: 3 at 32 px, 4 at 64, 5 at 256",
    )

    @property
    def normalized(self) -> bool:  # type: ignore[override]
        """By batch norm, where it is chosen."""
        return self.norm == "batch"

    @property
    def noise_size(self) -> int:
        return self.noise

    def check(self, resolution: int) -> None:
        super().check(resolution)
        if resolution % 2**self.doublings or resolution >> self.doublings < 2:
            raise ValueError(
                f"model.{self.name()}.doublings is {self.doublings}, and {resolution} px are no multiple of {2**self.doublings} "
                "or begin with less than 2: choose fewer, or a resolution that is a power of two"
            )
