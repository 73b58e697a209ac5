"""The checkpoint folder: what a finished run gives to evaluation, fine-tuning and the registry."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from atelier.config.model import ModelSettings
from atelier.config.section import first_problem
from atelier.io.files import atomic_folder, canonical_json, read_json
from atelier.models.model import (
    INFO,
    WEIGHTS,
    GeneratorError,
    GeneratorInfo,
    check_weights,
    model_settings,
    read_info,
    read_weights,
    write_info,
)
from atelier.networks.layers import class_rows
from atelier.tasks.generation.task import Generation

PLAYERS = "players.safetensors"
FIRST_COLUMNS = ("images", "step")


def export(best: Path, info: GeneratorInfo, history: dict[str, Any], grids: Path, output: Path) -> None:
    """Writes the checkpoint folder atomically from the best save of a run.

    generator.safetensors holds the moving average; players.safetensors the networks as they were at that moment, which
    fine-tuning goes on from. history.json holds the curves of the whole run, its measurements with their identity, and what
    it has cost; history.csv and evaluations.csv the same as tables, grids/ its pictures.
    """
    with atomic_folder(output, INFO) as aside:
        shutil.copyfile(best / "average.safetensors", aside / WEIGHTS)
        shutil.copyfile(best / "networks.safetensors", aside / PLAYERS)
        write_info(aside, info)
        (aside / "history.json").write_text(canonical_json(history), encoding="utf-8")
        (aside / "history.csv").write_text(_csv(history["points"]), encoding="utf-8", newline="")
        measured = [{"images": e["images"], "step": e["step"], "distance": e["value"]} for e in history["evaluations"]]
        (aside / "evaluations.csv").write_text(_csv(measured), encoding="utf-8", newline="")
        summary = {info.metric["identity"]["metric"]: info.metric["value"], "images_seen": info.images_seen}
        (aside / "summary.json").write_text(canonical_json(summary), encoding="utf-8")
        (aside / "grids").mkdir()
        for picture in sorted(grids.iterdir()):
            shutil.copyfile(picture, aside / "grids" / picture.name)


def _csv(points: list[dict[str, float]]) -> str:
    buffer = io.StringIO()
    names = sorted({name for point in points for name in point}, key=lambda name: (name not in FIRST_COLUMNS, name))
    writer = csv.DictWriter(buffer, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(points)
    return buffer.getvalue()


class Start:
    """A trained generator with its discriminator, from which a fine-tuning run starts."""

    def __init__(self, folder: Path) -> None:
        """Raises GeneratorError when the folder is not a checkpoint that can be fine-tuned, or its weights are damaged."""
        self.folder = Path(folder)
        self.info = read_info(self.folder)
        for name in (WEIGHTS, PLAYERS):
            if not (self.folder / name).is_file():
                raise GeneratorError(f"{self.folder / name}: missing; fine-tuning needs the whole checkpoint folder (dvc pull)")
        self.sha256 = check_weights(self.folder / WEIGHTS, self.info)
        check_weights(self.folder / PLAYERS, self.info)

    def lineage(self) -> dict[str, Any]:
        """What the child's generator.json says of its parent."""
        return {"sha256": self.sha256, **self.info.model_dump(mode="json")}

    def check(self, model: ModelSettings, resolution: int, channels: int, target: str) -> None:
        """Raises GeneratorError if the networks of the settings, or the images, are not those of the checkpoint."""
        wanted, has = model.identity(), model_settings(self.info, self.folder).identity()
        for key in sorted({*wanted, *has}):
            if wanted.get(key) != has.get(key):
                raise GeneratorError(
                    f"{self.folder / INFO}: this generator was trained with {key} = {has.get(key)}, params.yaml's model says "
                    f"{wanted.get(key)}; set the model section as it was"
                )
        if (resolution, channels) != (self.info.resolution, self.info.channels):
            raise GeneratorError(
                f"{target}: images of {resolution} px with {channels} channels, but {self.folder} paints "
                f"{self.info.resolution} px with {self.info.channels}; pack the target with the same resolution and channels"
            )

    def load(self, task: Generation, average: torch.nn.Module, classes: list[str]) -> list[str]:
        """Gives the players and the average the checkpoint's weights.

        Rows of class embeddings are matched by class name; a class that the checkpoint does not know keeps its fresh row.
        Returns the names of such new classes.
        """
        players = read_weights(self.folder / PLAYERS)
        for name, network in task.players.items():
            own = {key.removeprefix(f"{name}."): v for key, v in players.items() if key.startswith(f"{name}.")}
            _load(network, own, classes, self)
        _load(average, read_weights(self.folder / WEIGHTS), classes, self)
        return [name for name in classes if name not in self.info.classes] if self.info.conditional else []


def _load(network: torch.nn.Module, tensors: dict[str, Tensor], classes: list[str], start: Start) -> None:
    own = network.state_dict()
    for key in class_rows(network):
        rows = own[key].clone()
        for row, label in enumerate(classes):
            if label in start.info.classes:
                rows[row] = tensors[key][start.info.classes.index(label)]
        tensors[key] = rows
    wrong = [key for key in {*own, *tensors} if key not in tensors or key not in own or own[key].shape != tensors[key].shape]
    if wrong:
        raise GeneratorError(f"{start.folder}: weights of another architecture, such as {min(wrong)}; use its own model settings")
    network.load_state_dict(tensors)


class _Part(BaseModel):
    """What readers rely on; what else is there is theirs to leave."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Point(_Part):
    __pydantic_extra__: dict[str, float | None]
    images: float


class _Evaluated(_Part):
    images: float
    value: float
    seconds: float = 0.0
    metrics: dict[str, float] = Field(default_factory=dict)
    identity: dict[str, Any] = Field(default_factory=dict)


class _Alarm(_Part):
    images: float
    kind: str
    text: str
    done: str


class _Spent(_Part):
    kind: str
    device: str
    ranks: int
    threads: int
    watts: float | None
    seconds: float


class _History(_Part):
    points: list[_Point]
    evaluations: list[_Evaluated]
    alarms: list[_Alarm] = Field(default_factory=list)
    compute: list[_Spent] = Field(default_factory=list)


def read_history(folder: Path) -> dict[str, Any]:
    """history.json of a checkpoint folder: {"points": [...], "evaluations": [...], "alarms": [...], "compute": [...]}.

    A measurement has its images, step, distance ("value"), the seconds that it took, other metrics and identities.
    An alarm has its images, kind, text and what was done. "compute" is what the training has cost (seconds on each kind of
    hardware, see clock.Clock). A checkpoint that was written before training recorded one of the last two has no such part.
    Raises OSError, and ValueError saying which part is not as training writes it.
    """
    values = read_json(Path(folder) / "history.json")
    try:
        _History.model_validate(values)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error
    return values
