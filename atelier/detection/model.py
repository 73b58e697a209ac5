"""A detector as a file: detector.safetensors beside detector.json. All that the registry and serving need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat, PositiveInt, ValidationError
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from atelier.config.detection import Kept
from atelier.config.section import first_problem
from atelier.data.process import Recipe
from atelier.detection.detectors import Detector, learnt
from atelier.errors import AtelierError
from atelier.io.files import atomic_write, canonical_json, read_json, sha256_file
from atelier.models.given import recipe_of
from atelier.networks.inputs import Picture

WEIGHTS, INFO = "detector.safetensors", "detector.json"
REMEDY = "fetch the folder again, or make it again (components.detect)"


class DetectorError(AtelierError):
    """A detector's files are missing, damaged or of another format."""


class DetectorInfo(BaseModel):
    """detector.json: what the weights are, what they learnt from, and how good that was.

    Images are square, of `resolution` pixels; what is transparent lies on `background`. An image whose score is above `threshold`
    is taken for a generated one. `measured` are means over generators that were left out: AUC, share of generated images that
    are found, and share of real ones that are taken for generated, each by change. `generators` names those that it has seen,
    with the sha256 of their weights; `data` is the content hash, name and licence of the real images.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[1] = 1
    kind: Kept
    resolution: PositiveInt
    channels: PositiveInt
    background: str
    threshold: FiniteFloat
    measured: dict[str, dict[str, FiniteFloat]]
    generators: dict[str, str]
    data: dict[str, Any]
    settings: dict[str, Any]
    weights: str = ""


@dataclass(frozen=True)
class Finding:
    """What a detector says of an image: its score, a logit, and that of a coin tossed for real or generated, from 0 to 1."""

    score: float
    threshold: float

    @property
    def probability(self) -> float:
        """Of a generated image, if the image had been either with equal chance. It is no proof."""
        return float(1 / (1 + np.exp(-self.score)))

    @property
    def generated(self) -> bool:
        """Whether the image is taken for a generated one."""
        return self.score > self.threshold


@dataclass(frozen=True)
class LoadedDetector:
    """A detector with what is known of it."""

    detector: Detector
    info: DetectorInfo

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Logits float64 [N] of images uint8 [N, C, H, W] of its size."""
        return self.detector.scores(self.detector.rows(images))

    @property
    def recipe(self) -> Recipe:
        """How a file becomes an image of its size: cropped to a square in the middle, and resized."""
        side, background = self.info.resolution, self.info.background
        return recipe_of(Picture(channels=3 if self.info.channels == 3 else 1, resolution=side, background=background))

    def look(self, square: np.ndarray) -> Finding:
        """What it says of an image uint8 [H, W, C] that `recipe` made."""
        image = square[None].transpose(0, 3, 1, 2)
        return Finding(float(self.scores(np.ascontiguousarray(image))[0]), self.info.threshold)


def write(folder: Path, detector: Detector, info: DetectorInfo) -> None:
    """Writes both files into a folder, with the hash of the weights; equal detectors give equal bytes."""
    atomic_write(folder / WEIGHTS, safetensors.save(detector.tensors()))
    whole = info.model_copy(update={"weights": sha256_file(folder / WEIGHTS)})
    atomic_write(folder / INFO, canonical_json(whole.model_dump(mode="json")))


def read_info(folder: Path) -> DetectorInfo:
    """detector.json of a folder. Raises DetectorError."""
    path = Path(folder) / INFO
    try:
        return DetectorInfo.model_validate(read_json(path))
    except FileNotFoundError as error:
        raise DetectorError(
            f"{folder}: no detector here ({INFO} is missing); give a folder that components.detect wrote"
        ) from error
    except ValidationError as error:
        raise DetectorError(f"{path}: no detector of this version of Atelier: {first_problem(error)}; {REMEDY}") from error
    except (OSError, ValueError) as error:
        raise DetectorError(f"{path}: cannot be read ({error}); {REMEDY}") from error


def load(folder: Path) -> LoadedDetector:
    """The detector of a folder, which computes on the CPU. Nothing that is read can run code. Raises DetectorError."""
    info, path = read_info(folder), Path(folder) / WEIGHTS
    try:
        found = sha256_file(path)
        tensors = safetensors.load_file(path) if found == info.weights else {}
    except (OSError, SafetensorError) as error:
        raise DetectorError(f"{path}: missing or damaged ({error}); {REMEDY}") from error
    if found != info.weights:
        raise DetectorError(f"{path}: damaged or replaced, its sha256 is {found} and {INFO} says {info.weights}; {REMEDY}")
    try:
        detector = learnt(info.kind, tensors, info.channels, info.resolution)
    except (LookupError, ValueError, RuntimeError) as error:
        raise DetectorError(f"{path}: not the tensors of a detector of kind {info.kind} ({error}); {REMEDY}") from error
    return LoadedDetector(detector, info)
