"""The model that MLflow serves: a table of seeds or latents in, images out.

MLflow imports this module by name (`loader_module`) from the code that was logged beside the weights, so nothing is
unpickled. It must therefore import only what `bundle.py` ships.
"""

from __future__ import annotations

import base64
import os
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from atelier.config.section import SEEDS, SEEDS_TEXT
from atelier.models.model import at_once, load_generator, to_uint8
from atelier.networks.given import Decoded, Given, Refusal, Value
from atelier.networks.inputs import Label, Noise, draw, required
from atelier.provenance.leaving import labelled

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from pandas import DataFrame

    from atelier.models.model import GeneratorInfo

BATCH = 64
SEED, TRUNCATION = "seed", "truncation"  # columns of generators that take something random, and noise
COUNT, MOST = "count", 1000  # column of a table besides, and how many images a row may ask for
FORMATS = ("array", "png")


@dataclass(frozen=True)
class Row:
    """One image that was asked for: a tensor for each input of the generator, its truncation, `about`, the columns as they were
    understood, and by column the picture files that were `given`."""

    inputs: dict[str, torch.Tensor]
    truncation: float
    about: dict[str, Any]
    given: dict[str, bytes] = field(default_factory=dict)


def columns(info: GeneratorInfo) -> list[str]:
    """What a row may say, which follows from what the generator takes: a seed for what is random, each input, the truncation."""
    given = [kind.column(name) for name, kind in info.takes.items()]
    return [*([SEED] if random_inputs(info) else []), *given, *([TRUNCATION] if truncates(info) else [])]


class ServedGenerator:
    """`predict` generates one image for each row, or `count`. A row's images depend on that row alone (up to rounding)."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.generator = load_generator(folder, device)
        self.info: GeneratorInfo = self.generator.info
        self.device = device
        self.columns = columns(self.info)

    def predict(self, model_input: DataFrame, params: dict[str, Any] | None = None) -> Any:
        """uint8 images [N, H, W, C] for rows with these columns, of which a missing one or an empty cell means its default.

        Those that the generator takes: seed: integer, from which latent and class are drawn. latent: as many floats as its noise
        has, instead of a seed. class: a name, or an index as a number (by default drawn from the seed). A picture by its own
        name: a file in base64. A text: as it is written, or its embedding's numbers; a sound: a WAV file in base64; either may be
        left out. sharpness: from 0 to 1, of two generators as one. truncation: in (0, 1], by default 1; it brings
        the image nearer to the commonest one, for less variety and safer images (Brock et al. 2019, section 3.1; the family's
        `truncate`). count: how many images, of the seeds from the row's on; 1 to 1000, by default 1.

        With params {"format": "png"} N PNG files in base64 instead, each labelled with its row and the weights' sha256, and
        signed where ATELIER_CREDENTIALS names a key.
        MLflow drops other columns with a warning before they get here. Raises MlflowException (400 when served) naming the row.
        """
        if not set(self.columns) & set(model_input.columns):
            raise _invalid(f"the input has none of the columns {', '.join(self.columns)}; give a table with {self._least()}")
        form = (params or {}).get("format", FORMATS[0])
        if form not in FORMATS:
            raise _invalid(f"params: format is {_shown(form)}; give {' or '.join(FORMATS)}")
        records = enumerate(model_input.to_dict("records"))
        rows = [self._row(number, one) for number, record in records for one in _several(number, record)]
        images = self.generate(rows)
        if form == "array":
            return images
        weights = {"weights": self.generator.sha256}
        files = (labelled(picture(image), weights | row.about, row.given) for image, row in zip(images, rows, strict=True))
        return [base64.b64encode(file).decode() for file in files]

    def read(self, records: Sequence[Mapping[Any, Any]]) -> list[Row]:
        """What rows with the columns of `predict` ask for. Raises MlflowException naming the first that asks wrongly."""
        return [self._row(number, record) for number, record in enumerate(records)]

    def generate(self, rows: Sequence[Row]) -> np.ndarray:
        """uint8 images [N, H, W, C] of N rows."""
        step = at_once(self.info.resolution, BATCH)
        images = [self._batch(rows[first : first + step]) for first in range(0, len(rows), step)]
        shape = (0, self.info.channels, self.info.resolution, self.info.resolution)
        return np.concatenate([np.zeros(shape, np.uint8), *images]).transpose(0, 2, 3, 1)

    @torch.inference_mode()
    def _batch(self, rows: Sequence[Row]) -> np.ndarray:
        inputs = {name: torch.stack([row.inputs[name] for row in rows]).to(self.device) for name in self.info.takes}
        truncation = torch.tensor([row.truncation for row in rows], device=self.device) if truncates(self.info) else None
        return to_uint8(self.generator.generate(inputs, truncation))

    def _row(self, number: int, row: Mapping[Any, Any]) -> Row:
        about: dict[str, Any] = {}
        drawn: dict[str, torch.Tensor] = {}
        seed: Any = row.get(SEED)
        if not _empty(seed) and random_inputs(self.info):
            if not _is_whole(seed) or int(seed) not in SEEDS:
                raise _invalid(f"row {number}: seed is {_shown(seed)}; give {SEEDS_TEXT}")
            about[SEED] = int(seed)
            random = {name: kind for name, kind in self.info.takes.items() if kind.random}
            drawn = {name: values[0] for name, values in draw(random, 1, int(seed)).items()}
        read: dict[str, torch.Tensor] = {}
        for name, kind in self.info.takes.items():
            column = kind.column(name)
            value = kind.assumed if _empty(row.get(column)) else self._given(number, column, kind, row[column])
            if value is None and name not in drawn:
                raise _invalid(f"row {number}: {self._missing(column, kind, row)}")
            read[name], said = value or (drawn[name], kind.said(drawn[name], self.info.classes))
            if said is not None:
                about[column] = said
        for name in row.keys() & {"class"} - set(self.columns):
            if not _empty(row[name]):
                raise _invalid(f"row {number}: class is {_shown(row[name])}, but this generator has no classes")
        pictures = {kind.column(name) for name, kind in self.info.takes.items() if kind.form == "picture"}
        given = {column: _file(row[column]) for column in self.columns if column in pictures}
        return Row(read, self._truncation(number, row, about), about, given)

    def _given(self, number: int, column: str, kind: Given, value: Any) -> Value:
        try:
            return kind.read(value, self.info.classes)
        except Refusal as refusal:
            raise _invalid(f"row {number}: {column} is {_shown(value)}; give {refusal}") from refusal

    def _missing(self, column: str, kind: Given, row: Mapping[Any, Any]) -> str:
        """What to give where an input is neither given nor drawn."""
        if isinstance(kind, Label) and any(not _empty(row.get(name)) for name in self.columns):
            return f"a latent needs a class, one of {', '.join(self.info.classes)}"
        return f"give {self._least()}" if kind.random else f"{column} is missing; give {kind.wants(self.info.classes)}"

    def _least(self) -> str:
        """The least that a row has to say."""
        noise = [kind for kind in self.info.takes.values() if isinstance(kind, Noise)]
        pictures = [kind.column(name) for name, kind in required(self.info.takes).items()]
        seeded = [f"a seed, or a latent of {noise[0].size} numbers" if noise else "a seed"] if random_inputs(self.info) else []
        return " and ".join([*seeded, *pictures])

    def _truncation(self, number: int, row: Mapping[Any, Any], about: dict[str, Any]) -> float:
        if not truncates(self.info):
            return 1.0
        truncation: Any = 1.0 if _empty(row.get(TRUNCATION)) else row[TRUNCATION]
        if not isinstance(truncation, Real) or not 0 < truncation <= 1:  # type: ignore[operator]
            raise _invalid(f"row {number}: truncation is {_shown(truncation)}; give a number above 0 and at most 1")
        about[TRUNCATION] = float(truncation)
        return float(truncation)


def random_inputs(info: GeneratorInfo) -> bool:
    """Whether a generator takes something that a seed is enough for."""
    return any(kind.random for kind in info.takes.values())


def truncates(info: GeneratorInfo) -> bool:
    """Whether a generator can bring its noise nearer to the commonest image."""
    return any(isinstance(kind, Noise) and kind.truncation for kind in info.takes.values())


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> ServedGenerator:
    """MLflow's entry. The device is that of `model_config`, else MLFLOW_DEFAULT_PREDICTION_DEVICE, else the CPU."""
    device = (model_config or {}).get("device") or os.environ.get("MLFLOW_DEFAULT_PREDICTION_DEVICE") or "cpu"
    return ServedGenerator(Path(path), device)


def picture(image: np.ndarray) -> Image.Image:
    """A uint8 image [H, W, C] (C is 1 or 3) as a picture."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def signature(info: GeneratorInfo) -> ModelSignature:
    """The columns of `predict`, the shape of its images, and the parameter `format`, "array" or "png".

    The columns take anything, for of other types MLflow refuses an empty cell without saying where; `predict` checks each.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    offered = [*columns(info), *([COUNT] if random_inputs(info) else [])]
    specs: list[ColSpec | TensorSpec] = [ColSpec(AnyType(), name, required=False) for name in offered]
    images = TensorSpec(np.dtype(np.uint8), (-1, info.resolution, info.resolution, info.channels), name=None)
    params = ParamSchema([ParamSpec("format", DataType.string, FORMATS[0])])
    return ModelSignature(inputs=Schema(specs), outputs=Schema([images]), params=params)


def input_example(info: GeneratorInfo) -> DataFrame:
    """Two rows that show the columns that most callers use."""
    import pandas

    shown: dict[str, list[Any]] = {SEED: [0, 1]} if random_inputs(info) else {}
    if truncates(info):
        shown[TRUNCATION] = [1.0, 0.7]
    for name, kind in info.takes.items():
        if example := kind.example(info.classes):
            shown[kind.column(name)] = example
    return pandas.DataFrame(shown)


def _several(number: int, record: Mapping[Any, Any]) -> list[Mapping[Any, Any]]:
    """The row once for each image that it asks for, each with a seed of its own."""
    count: Any = record.get(COUNT)
    if _empty(count) or count == 1:
        return [record]
    if not _is_whole(count) or not 1 <= count <= MOST:
        raise _invalid(f"row {number}: count is {_shown(count)}; give a whole number from 1 to {MOST}")
    seed: Any = record.get("seed")
    if not _empty(record.get("latent")) or not _is_whole(seed):
        raise _invalid(f"row {number}: several images need a seed, which each of them counts up by one, and no latent")
    return [{**record, "seed": int(seed) + image} for image in range(int(count))]


def _empty(value: Any) -> bool:
    if isinstance(value, str | int | float):
        return value != value
    import pandas

    return value is None or (pandas.api.types.is_scalar(value) and pandas.isna(value))


def _file(value: Any) -> bytes:
    return value.file if isinstance(value, Decoded) else base64.b64decode(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Real) and value % 1 == 0  # which no infinity does


def _shown(value: Any) -> str:
    return reprlib.repr(value)


def _invalid(message: str) -> Exception:
    from mlflow.exceptions import MlflowException

    return MlflowException.invalid_parameter_value(message)
