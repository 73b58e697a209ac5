"""The checkpoint folder: what a finished run gives to evaluation, fine-tuning and the registry."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from atelier.config.model import ModelSettings
from atelier.config.section import first_problem
from atelier.config.settings import fingerprint
from atelier.config.training import TrainSettings
from atelier.data.packed import PackedDataset
from atelier.io.files import atomic_folder, canonical_json, read_json
from atelier.models.model import (
    INFO,
    NETWORKS,
    WEIGHTS,
    GeneratorError,
    GeneratorInfo,
    check_weights,
    model_settings,
    read_info,
    read_weights,
    write_info,
)
from atelier.networks.base import Generator
from atelier.networks.blended import SHARPNESS
from atelier.networks.inputs import LabelMap, Picture
from atelier.networks.layers import class_rows
from atelier.tasks.base import Task
from atelier.tasks.find import name_of
from atelier.training.history import by_name
from atelier.training.learner import AVERAGE

NETWORKS_BEFORE = "players.safetensors"  # NETWORKS until November 2026
SUMMARY = "summary.json"
SHOWN = 10  # class names in a message
FIRST_COLUMNS = ("images", "step")
CURVES_BEFORE = {  # names of curves until November 2026
    "separation": "auc_real_fake",
    "separation_held_out": "auc_heldout_fake",
    "overfitting": "auc_train_heldout",
    "kinds": "mode_coverage",
    "critic_rate": "discriminator_rate",
}


def export(best: Path, infos: Mapping[str, GeneratorInfo], history: dict[str, Any], grids: Path, output: Path) -> None:
    """Writes the checkpoint folder atomically from the best save of a run; of several products, a folder with the name of each.

    generator.safetensors holds the moving average; networks.safetensors the networks as they were at that moment, which
    fine-tuning goes on from. history.json holds the curves of the whole run, its measurements with their identity, and what
    it has cost; history.csv and evaluations.csv the same as tables, grids/ its pictures.
    """
    with atomic_folder(output, SUMMARY) as aside:
        for name, info in infos.items():
            folder = aside if len(infos) == 1 else aside / name
            folder.mkdir(exist_ok=True)
            shutil.copyfile(best / f"{AVERAGE}{name}.safetensors", folder / WEIGHTS)
            shutil.copyfile(best / NETWORKS, folder / NETWORKS)
            write_info(folder, info)
            _write_history(folder, history, grids)
        info = next(iter(infos.values()))
        summary = {info.metric["identity"]["metric"]: info.metric["value"], "images_seen": info.images_seen}
        (aside / SUMMARY).write_text(canonical_json(summary), encoding="utf-8")


def networks_in(folder: Path) -> Path:
    """The file of all networks in a checkpoint folder, by the name that it has there."""
    before = Path(folder) / NETWORKS_BEFORE
    return before if before.is_file() else Path(folder) / NETWORKS


def _write_history(folder: Path, history: dict[str, Any], grids: Path) -> None:
    (folder / "history.json").write_text(canonical_json(history), encoding="utf-8")
    (folder / "history.csv").write_text(_csv(history["points"]), encoding="utf-8", newline="")
    measured = [{"images": one["images"], "step": one["step"], **by_name(one)} for one in history["evaluations"]]
    (folder / "evaluations.csv").write_text(_csv(measured), encoding="utf-8", newline="")
    (folder / "grids").mkdir()
    for picture in sorted(grids.iterdir()):
        shutil.copyfile(picture, folder / "grids" / picture.name)


def _csv(points: list[dict[str, float]]) -> str:
    buffer = io.StringIO()
    names = sorted({name for point in points for name in point}, key=lambda name: (name not in FIRST_COLUMNS, name))
    writer = csv.DictWriter(buffer, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(points)
    return buffer.getvalue()


class PretrainedModel:
    """The checkpoint from which a fine-tuning run starts: all networks, and the averages of the products."""

    def __init__(self, folder: Path) -> None:
        """Raises GeneratorError when the folder is not a checkpoint that can be fine-tuned, or its weights are damaged."""
        self.folder = Path(folder)
        several = sorted(path.parent for path in self.folder.glob(f"*/{INFO}"))
        self._folders = [self.folder] if (self.folder / INFO).is_file() or not several else several
        self._infos = [read_info(one) for one in self._folders]
        self.info = self._infos[0]
        hashes = []
        for one, info in zip(self._folders, self._infos, strict=True):
            for file in (one / WEIGHTS, networks_in(one)):
                if not file.is_file():
                    raise GeneratorError(f"{file}: missing; fine-tuning needs the whole checkpoint folder (dvc pull)")
            hashes.append(check_weights(one / WEIGHTS, info))
            check_weights(networks_in(one), info)
        self._sha256 = dict(zip((one.name for one in self._folders), hashes, strict=True))
        self.sha256 = hashes[0] if len(hashes) == 1 else fingerprint(hashes)

    def lineage(self, product: str) -> dict[str, Any]:
        """The parent's entry in the child's generator.json."""
        folder, info = self._of(product) or (self._folders[0], self.info)
        return {"sha256": self._sha256[folder.name], **info.model_dump(mode="json")}

    def check(self, task: type[Task], model: ModelSettings, settings: TrainSettings, data: Mapping[str, PackedDataset]) -> None:
        """Raises GeneratorError or SettingsError if the networks of the settings, or the sets, are not those of the checkpoint.

        Each product is compared with the set that it imitates and the one whose records it is given.
        """
        wanted, has = model.identity(), model_settings(self.info, self._folders[0]).identity()
        for key in sorted({*wanted, *has}):
            if wanted.get(key) != has.get(key):
                raise GeneratorError(
                    f"{self._folders[0] / INFO}: this generator was trained with {key} = {has.get(key)}, params.yaml's "
                    f"model says {wanted.get(key)}; set the model section as it was"
                )
        sampling = task.sampling_of(settings.plain().get(name_of(task)))
        for product in task.products_of(settings):
            images, found = data[product.imitates], self._of(product.name)
            if found is None:
                continue
            folder, info = found
            if (images.resolution, images.channels) != (info.resolution, info.channels):
                raise GeneratorError(
                    f"{images.folder}: images of {images.resolution} px with {images.channels} channels, but {folder} "
                    f"makes {info.resolution} px with {info.channels}; pack the target with the same resolution and channels"
                )
            sampling.check_given(info.takes, data[product.given])

    def load(self, task: Task, averages: Mapping[str, nn.Module], data: Mapping[str, PackedDataset]) -> list[str]:
        """Gives the networks and the averages the checkpoint's weights.

        Rows of class embeddings are matched by class name; a class that the checkpoint does not know keeps its fresh row. So does
        a network that its training had not and that makes no product, such as a discriminator after a stage without one. The
        average of a product that is not in the checkpoint, which was registered as another one, begins as its network is.
        Returns a remark on each. Raises GeneratorError.
        """
        networks, remarks = read_weights(networks_in(self._folders[0])), list[str]()
        classes, products = next(iter(data.values())).classes, {one.name: self._of(one.name) for one in task.products}
        making = {product.network for product in task.products}
        for product in task.products:
            if found := products[product.name]:
                _check_sides(task.networks[product.network], found[1], found[0])
        for name, network in task.networks.items():
            own = {key.removeprefix(f"{name}."): v for key, v in networks.items() if key.startswith(f"{name}.")}
            if own:
                _load(network, own, classes, self.info, self.folder)
            elif name not in making:
                remarks.append(f"{self.folder} was trained without a network {name}, which begins anew")
            else:
                trained = ", ".join(dict.fromkeys(key.partition(".")[0] for key in networks))
                raise GeneratorError(
                    f"{self.folder}: was trained without the network {name} ({trained} are there); set the losses of section "
                    "finetune so that it has the networks of train, or train anew"
                )
        for product in task.products:
            if found := products[product.name]:
                _load(averages[product.name], read_weights(found[0] / WEIGHTS), classes, found[1], found[0])
            else:
                averages[product.name].load_state_dict(task.networks[product.network].state_dict())
                remarks.append(f"{self.folder} has no average of {product.name}, which begins as its network was")
        fresh = [name for name in classes if name not in self.info.classes] if self.info.conditional else []
        if fresh:
            known, new = ", ".join(self.info.classes[:SHOWN]) or "none", ", ".join(fresh[:SHOWN])
            remarks.append(f"{len(fresh)} of {len(classes)} classes are new to the generator: {new} (it knows {known})")
        return remarks

    def _of(self, product: str) -> tuple[Path, GeneratorInfo] | None:
        """Folder and info of a product, None where there is none of it."""
        pairs = zip(self._folders, self._infos, strict=True)
        return next(((folder, info) for folder, info in pairs if info.product == product), None)


def _check_sides(network: nn.Module, info: GeneratorInfo, folder: Path) -> None:
    """Raises GeneratorError where pictures or label maps of other sides are given to a product, as with another scale, and where
    the checkpoint holds two generators."""
    assert isinstance(network, Generator)  # products are
    wanted, has = (
        {name: kind.resolution for name, kind in takes.items() if isinstance(kind, Picture | LabelMap)}
        for takes in (network.takes, info.takes)
    )
    if SHARPNESS in info.takes:
        raise GeneratorError(f"{folder}: holds two generators; fine-tune one of those that it was made of")
    for name in wanted.keys() & has.keys():
        if wanted[name] != has[name]:
            raise GeneratorError(
                f"{folder}: this generator makes {info.resolution} px of an {name} of {has[name]} px, and that of section "
                f"finetune is given {wanted[name]} px; set what decides it, such as a scale, as in its training"
            )


def _load(network: nn.Module, tensors: dict[str, Tensor], classes: list[str], info: GeneratorInfo, folder: Path) -> None:
    own = network.state_dict()
    for key in class_rows(network):
        rows = own[key].clone()
        for row, label in enumerate(classes):
            if label in info.classes:
                rows[row] = tensors[key][info.classes.index(label)]
        tensors[key] = rows
    wrong = [key for key in {*own, *tensors} if key not in tensors or key not in own or own[key].shape != tensors[key].shape]
    if wrong:
        raise GeneratorError(f"{folder}: weights of another architecture, such as {min(wrong)}; use its own model settings")
    network.load_state_dict(tensors)


class _Part(BaseModel):
    """The values that readers rely on; others are allowed."""

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
    Curves have the names of today.
    Raises OSError, and ValueError saying which part is not as training writes it.
    """
    values = read_json(Path(folder) / "history.json")
    try:
        _History.model_validate(values)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error
    points = [{CURVES_BEFORE.get(name, name): value for name, value in point.items()} for point in values["points"]]
    return {**values, "points": points}
