"""Section `model.gat`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from atelier.config.model import FamilySettings
from atelier.config.section import PositiveInt
from atelier.config.training import TrainSettings
from atelier.networks.sections import ATTENDED

LEVELS = 4  # images that the generator makes of a latent, at so many depths


class Settings(FamilySettings):
    """Hyun 2026; depth, width and heads of S: 12, 384, 6; B: 12, 768, 12; L: 24, 1024, 16; XL: 28, 1152, 16."""

    title = "GAT (Hyun 2026)"
    projects = True

    width: PositiveInt = Field(default=128, description="channels of a token in both networks")
    base_width: PositiveInt = Field(
        default=128,
        description="width that the learning rates of train are meant for; those of another width are base_width / width as much "
        "(768 in the paper, with rates of 0.0002 for batches of 512)",
    )
    depth: Annotated[int, Field(ge=LEVELS, multiple_of=LEVELS)] = Field(
        default=8, description="blocks of each network, a multiple of 4: an image is made after each quarter"
    )
    heads: PositiveInt = Field(default=4, description="heads of attention, each of width / heads channels, a multiple of 4")
    patch: PositiveInt = Field(
        default=4, description="pixels a side of a token's patch, a divisor of the resolution: 4 at 32 px, 8 at 64 px and more"
    )
    projection: PositiveInt = Field(
        default=256, description="width in which the discriminator projects on the label's embedding (2048 in the paper)"
    )

    autoencoder: str = Field(
        default="",
        description="file (safetensors, with diffusers' names) or s3:// URI of the autoencoder in whose latents both networks "
        "work, such as Stable Diffusion's; empty: they work in pixels",
    )
    autoencoder_sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = Field(
        default="", description="sha256 of that file, which is checked"
    )
    autoencoder_widths: Annotated[list[Annotated[int, Field(ge=32, multiple_of=32)]], Field(min_length=2)] = Field(
        default=[128, 256, 512, 512], description="its channels from the picture down; each stage after the first halves the side"
    )
    autoencoder_blocks: PositiveInt = Field(default=2, description="its residual blocks a stage")
    latent_channels: PositiveInt = Field(default=4, description="channels of its latents")
    latent_scale: Annotated[float, Field(gt=0)] = Field(
        default=0.18215, description="factor that gives its latents a variance of about 1"
    )

    @property
    def halvings(self) -> int:
        """How often an image is halved to its latent's side."""
        return len(self.autoencoder_widths) - 1 if self.autoencoder else 0

    @model_validator(mode="after")
    def _hash(self) -> Self:
        if bool(self.autoencoder) != bool(self.autoencoder_sha256):
            raise ValueError("autoencoder and autoencoder_sha256 belong together: set both (sha256sum FILE), or neither")
        return self

    @model_validator(mode="after")
    def _heads(self) -> Self:
        if self.width % (4 * self.heads):
            raise ValueError(
                f"width {self.width} is no multiple of 4 x heads = {4 * self.heads}, and places turn the channels of a head in "
                "pairs for either axis; choose another width or number of heads"
            )
        return self

    def check(self, resolution: int) -> None:
        side, of = resolution >> self.halvings, f"{resolution} px"
        if self.halvings:
            if resolution % 2**self.halvings:
                raise ValueError(f"model.gat.autoencoder halves {self.halvings} times, which {resolution} px cannot be")
            of = f"latents of {side} x {side} (of {of})"
        if side % self.patch:
            able = ", ".join(str(one) for one in range(1, side // 2 + 1) if side % one == 0)
            raise ValueError(f"model.gat.patch is {self.patch}, which does not divide {of}; choose among {able}")
        if side // self.patch > ATTENDED:
            raise ValueError(
                f"model.gat.patch is {self.patch}, which makes {(side // self.patch) ** 2} tokens of {of}; choose at least "
                f"{-(-side // ATTENDED)}"
            )

    def check_training(self, section: str, train: TrainSettings) -> None:
        if self.autoencoder and train.augment == "ada":
            raise ValueError(f"{section}.augment: ada changes colors, and latents have none; set diffaugment or none")
