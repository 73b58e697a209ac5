"""A generator as a file: generator.safetensors beside generator.json. All that evaluation, serving and the registry need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from atelier.config.model import TASK, ModelSettings
from atelier.config.section import SettingsError, first_problem
from atelier.errors import AtelierError
from atelier.io.files import atomic_write, canonical_json, read_json, sha256_file
from atelier.networks import inputs, zoo
from atelier.networks.base import Generator, LatentGenerator
from atelier.networks.inputs import Label, Takes
from atelier.networks.layers import ImageShape

WEIGHTS, INFO, NETWORKS = "generator.safetensors", "generator.json", "networks.safetensors"
FORMAT_1 = {"latent_dim", "conditional", "resolution", "channels"}  # what format 2 says otherwise
INTERPOLATED = "interpolated"  # says in `code` between which generators the weights lie, where no training made them
REMEDY = "fetch the checkpoint folder again (dvc pull), or train again"


class GeneratorError(AtelierError):
    """A generator's files are missing, damaged, or of another format."""


class Gives(BaseModel):
    """The images of a generator: square, of `resolution` pixels a side."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    resolution: PositiveInt
    channels: PositiveInt


class GeneratorInfo(BaseModel):
    """generator.json: what the weights are and where they come from.

    The weights are the `product` of a `task`; `takes` are the generator's inputs and `gives` its images. `classes` are the names
    in label order, [] without labels. `data` is the training set's content hash, name and licence. `settings` are all those of
    section train or finetune. `parent` is the info of the generator this one was fine-tuned from (with its weights' sha256), or
    None. `weights` is the sha256 of each safetensors file beside generator.json, by name; {} in a checkpoint that was written
    before hashes were kept, whose weights cannot be checked. `privacy` states the epsilon of a differentially private training
    with what it follows from, {} of any other. Format 1, which knew latents and labels alone, is read as well.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[2] = 2
    task: str = TASK
    product: str = "generator"
    model: dict[str, Any]
    takes: Takes
    gives: Gives
    classes: list[str]
    images_seen: int
    step: int
    seed: int
    data: dict[str, Any]
    settings: dict[str, Any]
    code: dict[str, str]
    run_key: str
    metric: dict[str, Any]
    parent: dict[str, Any] | None
    weights: dict[str, str] = Field(default_factory=dict)
    privacy: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _of_format_1(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("format", 1) != 1 or not values.keys() >= FORMAT_1:
            return values
        rest = {name: value for name, value in values.items() if name not in {*FORMAT_1, "format"}}
        takes: dict[str, Any] = {"noise": {"kind": "noise", "size": values["latent_dim"]}}
        if values["conditional"] and values.get("classes"):
            takes["label"] = {"kind": "label", "classes": len(values["classes"])}
        return rest | {"takes": takes, "gives": {"resolution": values["resolution"], "channels": values["channels"]}}

    @field_validator("takes")
    @classmethod
    def _in_order(cls, takes: Takes) -> Takes:
        return inputs.in_order(takes)

    @property
    def resolution(self) -> int:
        """Pixels a side."""
        return self.gives.resolution

    @property
    def channels(self) -> int:
        """1 or 3."""
        return self.gives.channels

    @property
    def conditional(self) -> bool:
        """Whether it takes a class."""
        return any(isinstance(kind, Label) for kind in self.takes.values())

    @property
    def shape(self) -> ImageShape:
        """Shape of the images; classes counts the labels that the networks take (0 when unconditional)."""
        return ImageShape(self.resolution, self.channels, len(self.classes) if self.conditional else 0)


def read_info(folder: Path) -> GeneratorInfo:
    """generator.json of a checkpoint folder. Raises GeneratorError."""
    path = Path(folder) / INFO
    if not path.is_file():
        raise GeneratorError(f"{folder}: no generator here ({INFO} is missing); give a folder that train or finetune wrote")
    try:
        return GeneratorInfo.model_validate(read_json(path))
    except ValidationError as error:
        raise GeneratorError(f"{path}: not a generator of this version of Atelier: {first_problem(error)}; {REMEDY}") from error
    except (OSError, ValueError) as error:
        raise GeneratorError(f"{path}: cannot be read ({error}); {REMEDY}") from error


def parts_of(folder: Path) -> list[Path]:
    """The folders of the generators of a checkpoint that holds several, by name; none of one that is a generator's itself."""
    alone = (Path(folder) / INFO).is_file()
    return [] if alone else sorted(file.parent for file in Path(folder).glob(f"*/{INFO}"))


def part_of(folder: Path, part: str | None = None) -> Path:
    """The folder of one generator: the checkpoint folder itself or, where a training made several, that of its product `part`.

    Raises GeneratorError where a part has to be named, or there is none of that name.
    """
    several = [one.name for one in parts_of(folder)]
    if not part and not several:
        return Path(folder)
    if part not in several:
        holds = f"it holds {', '.join(several)}" if several else "it holds one generator alone"
        raise GeneratorError(f"{folder}: {holds}; {'name one of them as its part' if several else f'take the part {part} out'}")
    return Path(folder) / part


def write_info(folder: Path, info: GeneratorInfo) -> None:
    """Writes generator.json atomically, with the hashes of the weights that lie in the folder; equal infos give equal bytes."""
    weights = {file.name: sha256_file(file) for file in sorted(Path(folder).glob("*.safetensors"))}
    atomic_write(Path(folder) / INFO, canonical_json(info.model_copy(update={"weights": weights}).model_dump(mode="json")))


def check_weights(path: Path, info: GeneratorInfo) -> str:
    """The sha256 of a file of weights. Raises GeneratorError where it is missing, or not the file that `info` was written for."""
    try:
        found = sha256_file(path)
    except OSError as error:
        raise GeneratorError(f"{path}: missing or unreadable ({error.strerror}); {REMEDY}") from error
    expected = info.weights.get(path.name, found)
    if found != expected:
        raise GeneratorError(f"{path}: damaged or replaced, its sha256 is {found} and {INFO} says {expected}; {REMEDY}")
    return found


def model_settings(info: GeneratorInfo, folder: Path) -> ModelSettings:
    """The model settings that generator.json states. Raises GeneratorError for a family that this version does not know."""
    try:
        return ModelSettings.from_identity(info.model, origin=str(Path(folder) / INFO))
    except SettingsError as error:
        raise GeneratorError(str(error)) from error


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file by name. Raises GeneratorError naming the file."""
    if not path.is_file():
        raise GeneratorError(f"{path}: missing; {REMEDY}")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise GeneratorError(f"{path}: damaged ({error}); {REMEDY}") from error


def load_weights(module: nn.Module, path: Path) -> None:
    """Loads a safetensors file strictly. Raises GeneratorError naming the file and the first tensors that do not fit."""
    tensors = read_weights(path)
    own = module.state_dict()
    wrong = [name for name in own if name not in tensors or tensors[name].shape != own[name].shape]
    wrong += [name for name in tensors if name not in own]
    if wrong:
        raise GeneratorError(
            f"{path}: weights of another architecture ({len(wrong)} tensors do not fit, such as {', '.join(wrong[:3])}); "
            "use the model settings they were trained with"
        )
    module.load_state_dict(tensors)


def load_generator(folder: Path, device: torch.device | str = "cpu") -> Generator:
    """The generator of a checkpoint folder in eval mode, with `info` (GeneratorInfo) and `sha256` (of the weights) attached.

    Nothing that is read can run code: JSON and safetensors only. Raises GeneratorError.
    """
    folder = Path(folder)
    info = read_info(folder)
    settings = model_settings(info, folder)
    try:
        with torch.random.fork_rng(devices=[]):
            generator = zoo.generator(settings, info.shape, info.takes)
    except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError) as error:
        why = f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.200}"
        raise GeneratorError(f"{folder / INFO}: no network can be built from what it says ({why}); {REMEDY}") from error
    generator.sha256 = check_weights(folder / WEIGHTS, info)
    load_weights(generator, folder / WEIGHTS)
    generator.info = info
    return generator.requires_grad_(False).eval().to(device)


def load_latent_generator(folder: Path, device: torch.device | str = "cpu") -> LatentGenerator:
    """The same for what works on latents alone. Raises GeneratorError for a generator that takes something else."""
    generator = load_generator(folder, device)
    if not isinstance(generator, LatentGenerator):
        raise GeneratorError(
            f"{folder}: this generator takes {', '.join(generator.takes)}, and not noise with at most a class; `python -m "
            "atelier.latent --help` names the verbs for it"
        )
    return generator


def to_uint8(images: torch.Tensor) -> np.ndarray:
    """[-1, 1] float [N,C,H,W] -> uint8 [N,C,H,W] on the CPU, rounded to the nearest and clipped."""
    return images.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).cpu().numpy()


def from_uint8(images: torch.Tensor) -> torch.Tensor:
    """uint8 [N,C,H,W] -> float in [-1, 1], on the same device: `to_uint8` gives the same bytes back."""
    return images.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)


def at_once(resolution: int, most: int = 64) -> int:
    """How many images of this side are generated at once: `most` up to 256 px, and beyond as many as fill the same memory."""
    return max(1, most * 256**2 // max(resolution, 256) ** 2)


def sample(
    generator: Generator, count: int, seed: int, batch: int | None = None, labels: torch.Tensor | None = None
) -> Iterator[np.ndarray]:
    """Yields uint8 batches [n,C,H,W], `count` images in all: a pure function of its arguments but for `batch` (None: at_once).

    `labels` int64 [count] fixes the classes; otherwise they are drawn uniformly.
    """
    given = inputs.draw(generator.takes, count, seed) | ({} if labels is None else {"label": labels})
    return generate(generator, given, batch or at_once(generator.shape.resolution))


@torch.inference_mode()
def in_turn(count: int, batch: int, turn: tuple[int, int]) -> Iterator[slice]:
    """Batches of `count` images.

    `turn` = (rank, world) leaves out all but each world-th batch from number `rank` on, for ranks that share the work.
    """
    rank, world = turn
    for start in range(rank * batch, count, world * batch):
        yield slice(start, start + batch)


def generate(
    generator: Generator, given: Mapping[str, torch.Tensor], batch: int, turn: tuple[int, int] = (0, 1)
) -> Iterator[np.ndarray]:
    """Yields uint8 batches [n,C,H,W] of inputs [count, ...] by name.

    `turn` is that of `in_turn`.
    """
    device = next(generator.parameters()).device
    for part in in_turn(len(next(iter(given.values()))), batch, turn):
        yield to_uint8(generator.generate({name: values[part].to(device) for name, values in given.items()}))


def slerp(first: np.ndarray, second: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """Points float64 [N, dim] on the great circles from `first` to `second`, a `share` [N, 1] of the angle on (White 2016).

    Normal latents lie near a sphere, which the straight line between them leaves. Ends of other lengths are weighted alike.
    """
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    angle = np.arccos(np.clip((first * second).sum(axis=1) / lengths, -1, 1))[:, None]
    bent = np.sin(angle) > 1e-3  # between collinear latents, as all of one dimension are, the great circle is not defined
    sine = np.where(bent, np.sin(angle), 1)
    curved = (np.sin((1 - share) * angle) * first + np.sin(share * angle) * second) / sine
    return np.where(bent, curved, first + (second - first) * share)


def draw_latents(latent_dim: int, classes: int, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Standard normal latents [count, latent_dim] and labels int64 [count] (None without classes), from `seed` alone."""
    drawn = inputs.draw(inputs.of_latents(latent_dim, classes), count, seed)
    return drawn["noise"], drawn.get("label")
